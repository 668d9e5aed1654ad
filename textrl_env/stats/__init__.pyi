from .bootstrap import (
    Estimate as Estimate,
    bootstrap_estimate as bootstrap_estimate,
    bootstrap_interval as bootstrap_interval,
    draw_clusters as draw_clusters,
    estimate_mean as estimate_mean,
    percentile_interval as percentile_interval,
)
from .normal import (
    estimate_share as estimate_share,
    estimate_standardised_mean as estimate_standardised_mean,
    mann_kendall as mann_kendall,
    normal_quantile as normal_quantile,
    student_interval as student_interval,
)
