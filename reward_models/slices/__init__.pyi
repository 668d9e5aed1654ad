from .balancing import balanced_rows as balanced_rows, balancing_weights as balancing_weights
from .gaps import slice_gaps as slice_gaps
from .tables import (
    MIN_CLUSTERS as MIN_CLUSTERS,
    SliceTable as SliceTable,
    numbered as numbered,
    slice_shares as slice_shares,
    slices_of as slices_of,
)
