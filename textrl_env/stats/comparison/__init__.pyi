from .samples import (
    best_of_n_kl as best_of_n_kl,
    chance_of_best as chance_of_best,
    distinct_n as distinct_n,
    expected_best as expected_best,
    wins as wins,
)
