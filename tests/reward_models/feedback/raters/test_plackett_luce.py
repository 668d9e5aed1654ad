"""Plackett-Luce against choix, Davidson's ties against a closed form and a general optimiser, intervals by coverage."""

import choix
import numpy as np
import pytest
from scipy.optimize import minimize

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.raters import fit_plackett_luce

WORTH = np.array([0.9, 0.2, 0.0, -0.3, -0.8])


def rankings(n: int, rng: np.random.Generator, size: int = 5) -> list[list[int]]:
    """Draws of `size` random items each, ranked by worth and Gumbel noise."""
    drawn = []
    for _ in range(n):
        items = rng.choice(5, size=size, replace=False)
        drawn.append(items[np.argsort(-(WORTH[items] + rng.gumbel(size=size)))].tolist())
    return drawn


@pytest.mark.parametrize("size", [2, 3, 5])
def test_worths_are_those_of_choix(size: int) -> None:
    data = rankings(60, np.random.default_rng(size), size)
    expected = choix.opt_rankings(5, data, alpha=0.0, method="BFGS", tol=1e-6)
    np.testing.assert_allclose(fit_plackett_luce(5, data).log_worth, expected - expected.mean(), atol=1e-4)
    if size == 2:
        pairwise = choix.ilsr_pairwise(5, data, alpha=0.0, tol=1e-10)
        np.testing.assert_allclose(fit_plackett_luce(5, data).log_worth, pairwise - pairwise.mean(), atol=1e-4)


def test_a_ridge_is_that_of_choix() -> None:
    data = rankings(10, np.random.default_rng(0), 3)
    # choix takes alpha |theta|^2, we take ridge |theta|^2 / 2.
    expected = choix.opt_rankings(5, data, alpha=0.25, method="BFGS", tol=1e-9)
    np.testing.assert_allclose(fit_plackett_luce(5, data, ridge=0.5).log_worth, expected, atol=1e-4)


def test_ties_of_two_items_have_davidsons_closed_form() -> None:
    fit = fit_plackett_luce(2, [[0, 1]] * 12 + [[1, 0]] * 5, ties=[(0, 1)] * 8)
    # The model has as many parameters as there are frequencies: it meets them.
    assert fit.log_worth[0] - fit.log_worth[1] == pytest.approx(np.log(12 / 5))
    assert fit.log_tie == pytest.approx(np.log(8 / np.sqrt(12 * 5)))


def davidson(parameters: np.ndarray, pairs: np.ndarray, ties: np.ndarray) -> float:
    """Negative log-likelihood of pairs (winner, loser) and ties, term by term (Davidson 1970, eq. 2.3)."""
    worth, nu, total = np.exp([0.0, *parameters[:-1]]), np.exp(parameters[-1]), 0.0
    for rows, of_tie in ((pairs, False), (ties, True)):
        for i, j in rows:
            tie = nu * np.sqrt(worth[i] * worth[j])
            total -= np.log((tie if of_tie else worth[i]) / (worth[i] + worth[j] + tie))
    return float(total)


def test_ties_of_more_items_are_those_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(1)
    data = np.array(rankings(80, rng, 2))
    ties = np.array([rng.choice(5, size=2, replace=False) for _ in range(30)])
    fit = fit_plackett_luce(5, data.tolist(), ties=ties.tolist())
    expected = minimize(davidson, np.zeros(5), args=(data, ties), tol=1e-10).x
    assert fit.log_tie == pytest.approx(expected[-1], abs=1e-4)
    np.testing.assert_allclose(fit.log_worth[1:] - fit.log_worth[0], expected[:-1], atol=1e-4)


def test_ties_of_two_items_do_not_say_who_is_better() -> None:
    won = [[0, 1]] * 9 + [[1, 0]] * 3
    alone, with_ties = fit_plackett_luce(2, won), fit_plackett_luce(2, won, ties=[(0, 1)] * 20)
    assert with_ties.log_worth[0] == pytest.approx(alone.log_worth[0])
    assert with_ties.covariance[0, 0] == pytest.approx(alone.covariance[0, 0])


@pytest.mark.parametrize("size", [2, 4])
def test_intervals_cover_the_truth(size: int) -> None:
    rng = np.random.default_rng(2)
    truth = WORTH - WORTH.mean()
    inside = []
    for _ in range(200):
        low, high = fit_plackett_luce(5, rankings(120, rng, size)).interval()
        inside.append((low < truth) & (truth < high))
    assert 0.92 < np.mean(inside) < 0.98


def test_items_that_never_lose_need_a_ridge() -> None:
    unbeaten = [[0, 1], [1, 2], [2, 1]]
    with pytest.raises(InputError, match="give ridge"):
        fit_plackett_luce(3, unbeaten)
    with pytest.raises(InputError, match="give ridge"):
        fit_plackett_luce(4, [[0, 1], [1, 0], [2, 3], [3, 2]])
    fit = fit_plackett_luce(3, unbeaten, ridge=0.1)
    assert np.argmax(fit.log_worth) == 0 and np.isfinite(fit.covariance).all()


@pytest.mark.parametrize("ranking", [[0], [0, 0], [0, 3], [-1, 0]])
def test_an_impossible_ranking_is_named(ranking: list[int]) -> None:
    with pytest.raises(InputError, match=r"different items below 3, got"):
        fit_plackett_luce(3, [[0, 1], ranking])
