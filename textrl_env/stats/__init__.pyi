from .bootstrap import cluster_bootstrap as cluster_bootstrap
from .intervals import (
    bootstrap_interval as bootstrap_interval,
    distinct_n as distinct_n,
    student_interval as student_interval,
    wins as wins,
)
from .order_statistics import (
    best_of_n_kl as best_of_n_kl,
    chance_of_best as chance_of_best,
    expected_best as expected_best,
)
from .trends import mann_kendall as mann_kendall
