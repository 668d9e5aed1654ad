"""Rank and partial correlation, regression and AUROC against scipy, statsmodels and scikit-learn."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import roc_auc_score

from textrl_env.reward_models.report_card.rank_correlation import (
    auroc,
    centre_groups,
    partial_spearman,
    pearson,
    ranks,
    residual,
    spearman,
)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two variables that go together only because of a third, with ties."""
    rng = np.random.default_rng(0)
    given = np.round(rng.normal(size=(400, 2)), 1)
    x = np.round(given[:, 0] + 0.5 * rng.normal(size=400), 1)
    return x, np.round(given[:, 0] - 0.3 * given[:, 1] + 0.5 * rng.normal(size=400), 1), given


def test_ranks_and_correlations_are_scipys(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, _ = data
    np.testing.assert_allclose(ranks(x), stats.rankdata(x))
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0])
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0])
    assert np.isnan(spearman(x, np.ones(400)))


def test_partial_correlation_is_that_of_the_inverse_matrix(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, given = data
    inverse = np.linalg.inv(np.corrcoef(stats.rankdata(np.column_stack([x, y, given]), axis=0).T))
    closed = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    assert partial_spearman(x, y, given) == pytest.approx(closed)
    assert abs(closed) < 0.1 < 0.5 < spearman(x, y)


def test_residuals_are_statsmodels_and_what_is_left_of_a_line_is_nothing(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, _, given = data
    np.testing.assert_allclose(residual(x, given), sm.OLS(x, sm.add_constant(given)).fit().resid, atol=1e-10)
    assert not residual(3 + given @ np.array([1e6, -2.0]), given).any()
    # A constant column, and one that is there twice, change nothing.
    np.testing.assert_allclose(
        residual(x, np.column_stack([given, given, np.ones(400)])), residual(x, given), atol=1e-9
    )


def test_groups_are_centred_one_by_one() -> None:
    values = np.array([[1.0, 0.0], [3.0, 1.0], [10.0, 5.0]])
    assert centre_groups(values, np.array([0, 0, 2])).tolist() == [[-1, -0.5], [1, 0.5], [0, 0]]
    assert centre_groups(values[:, 0], np.array([1, 1, 1])).tolist() == pytest.approx([-11 / 3, -5 / 3, 16 / 3])


def test_auroc_is_scikit_learns_with_ties_too() -> None:
    rng = np.random.default_rng(1)
    positive = (rng.random(300) < 0.3).astype(float)
    values = np.round(rng.normal(size=300) + positive, 1)
    assert auroc(values, positive) == pytest.approx(roc_auc_score(positive, values))
    assert auroc(np.ones(300), positive) == 0.5
    assert np.isnan(auroc(values, np.zeros(300)))
