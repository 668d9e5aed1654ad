from .grouping import (
    SliceIndex as SliceIndex,
    balanced_rows as balanced_rows,
    balancing_weights as balancing_weights,
    number_clusters as number_clusters,
    slices_of as slices_of,
)
from .tables import (
    MIN_CLUSTERS as MIN_CLUSTERS,
    SliceTable as SliceTable,
    slice_gaps as slice_gaps,
    slice_means as slice_means,
    slice_shares as slice_shares,
)
