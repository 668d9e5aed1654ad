"""Coefficients of agreement against statsmodels, scikit-learn, published values and definitions written as loops."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters import cohen_kappa
from textrl_env.reward_models.feedback.raters.agreement import Level, count_values, fleiss_kappa, krippendorff_alpha
from textrl_env.stats import bootstrap_estimate, estimate_mean

NONE = float("nan")
# Four observers, twelve units, five categories, missing data: Krippendorff, "Computing Krippendorff's
# alpha-reliability", section C.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)


def counts_of(table: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of a table (raters, units) with NaN where there is no judgement."""
    rater, unit = np.nonzero(~np.isnan(table))
    return count_values(unit, table[rater, unit])


def alpha(table: NDArray[np.float64], level: Level) -> float:
    return krippendorff_alpha(*counts_of(table), level=level)


def slow_alpha(table: NDArray[np.float64], level: Level) -> float:
    """1 - D_o / D_e over all pairs of judgements: inside units, and among all judgements that have a partner."""
    units = [[value for value in column if value == value] for column in table.T]
    units = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in units for value in unit]

    def distance(a: float, b: float) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(low <= value <= high for value in everything)
        return (between - (everything.count(a) + everything.count(b)) / 2) ** 2 if a != b else 0.0

    inside = [distance(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)]
    across = [distance(a, b) for a, b in itertools.permutations(everything, 2)]
    return float(1 - sum(inside) / len(everything) / np.mean(across))


def test_alpha_of_the_published_example() -> None:
    assert alpha(PUBLISHED, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert alpha(PUBLISHED, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert alpha(PUBLISHED, "interval") == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_its_definition_on_random_tables_with_holes(level: Level) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        truth = rng.integers(5, size=14)
        table = np.clip(truth + rng.integers(-1, 2, size=(4, 14)), 0, 4).astype(float)
        table[rng.random(table.shape) < 0.3] = NONE
        assert alpha(table, level) == pytest.approx(slow_alpha(table, level))


def test_each_level_sees_only_what_its_scale_says() -> None:
    table = PUBLISHED
    stretched = np.array([NONE, 1, 2, 4, 8, 100])[np.nan_to_num(table).astype(int)]
    renamed = np.array([NONE, 3, 5, 1, 4, 2])[np.nan_to_num(table).astype(int)]
    assert alpha(3 * table - 7, "interval") == pytest.approx(alpha(table, "interval"))
    assert alpha(stretched, "ordinal") == pytest.approx(alpha(table, "ordinal"))
    assert alpha(renamed, "nominal") == pytest.approx(alpha(table, "nominal"))
    assert abs(alpha(stretched, "interval") - alpha(table, "interval")) > 0.05
    assert abs(alpha(renamed, "ordinal") - alpha(table, "ordinal")) > 0.05


def test_fleiss_is_that_of_statsmodels_and_needs_equal_numbers() -> None:
    counts = np.random.default_rng(1).multinomial(6, [0.5, 0.3, 0.2], size=40).astype(float)
    assert fleiss_kappa(counts) == pytest.approx(statsmodels_fleiss(counts))
    counts[3, 0] += 1
    with pytest.raises(InputError, match=r"same number of judgements.*6 to 7.*alpha"):
        fleiss_kappa(counts)


@pytest.mark.parametrize(("level", "weights"), [("nominal", None), ("interval", "quadratic")])
def test_cohen_is_that_of_scikit_learn(level: str, weights: str | None) -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(4, size=200)
    b = np.where(rng.random(200) < 0.6, a, rng.integers(4, size=200))
    confusion = np.bincount(4 * a + b, minlength=16).reshape(4, 4).astype(float)
    expected = cohen_kappa_score(a, b, weights=weights)
    assert cohen_kappa(confusion, np.arange(4.0), level=level) == pytest.approx(expected)  # type: ignore[arg-type]


def test_perfect_agreement_is_1_chance_is_near_0_and_a_single_value_is_undefined() -> None:
    rng = np.random.default_rng(3)
    same = np.tile(rng.integers(3, size=50).astype(float), (3, 1))
    random = rng.integers(3, size=(3, 2000)).astype(float)
    for level in ("nominal", "ordinal", "interval"):
        assert alpha(same, level) == pytest.approx(1.0)  # type: ignore[arg-type]
        assert abs(alpha(random, level)) < 0.05  # type: ignore[arg-type]
        assert np.isnan(alpha(np.ones((3, 5)), level))  # type: ignore[arg-type]


def test_the_interval_covers_the_truth_and_single_units_out_of_clusters_would_not() -> None:
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(40), 5)
    covered, covered_alone = 0, 0
    for _ in range(200):
        values = np.repeat(rng.standard_normal(40), 5) + 0.3 * rng.standard_normal(200)
        mean = estimate_mean(values, cluster, rng=rng, resamples=200)
        covered += mean.low < 0 < mean.high
        mean = estimate_mean(values, np.arange(200), rng=rng, resamples=200)
        covered_alone += mean.low < 0 < mean.high
    assert 180 <= covered <= 198
    assert covered_alone < 150


def test_the_interval_of_alpha_covers_the_alpha_of_a_large_sample() -> None:
    rng = np.random.default_rng(5)

    def table(n_units: int) -> NDArray[np.float64]:
        truth = rng.integers(4, size=n_units)
        return np.where(rng.random((3, n_units)) < 0.6, truth, rng.integers(4, size=(3, n_units))).astype(float)

    truth, covered = alpha(table(100_000), "ordinal"), 0
    for _ in range(200):
        counts, values = counts_of(table(60))
        estimate = bootstrap_estimate(
            lambda rows, c=counts, v=values: krippendorff_alpha(c[rows], v, level="ordinal"),
            np.arange(60),
            rng=rng,
            resamples=200,
        )
        covered += estimate.low < truth < estimate.high
    assert 180 <= covered <= 198
