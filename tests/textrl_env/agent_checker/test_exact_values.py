"""The ladder's exact values against independent ones: the worlds' own, enumeration of n-tuples, simulation."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from textrl_env.agent_checker import LADDER, Rung
from textrl_env.agent_checker.completions import Completions, best_of_n, estimate
from textrl_env.agent_checker.ladder import ARMS, PREFERENCES

RUNGS = {rung.name: rung for rung in LADDER}
PREFERENCE = RUNGS["preferences"]


def objective(rung: Rung, policy: np.ndarray) -> float:
    """Of a distribution over the completions of the only prompt."""
    (every,) = rung.completions
    ratio = np.log(np.where(policy > 0, policy, 1.0)) - np.where(policy > 0, every.logprobs, 0.0)
    return float(policy @ (every.scores - rung.coef * ratio))


@pytest.mark.parametrize("rung", LADDER, ids=list(RUNGS))
def test_the_completions_are_all_there_are(rung: Rung) -> None:
    for every in rung.completions:
        assert np.exp(every.logprobs).sum() == pytest.approx(1)
        assert len(set(every.ids)) == len(every.ids) == len(every.scores) == len(every.logprobs)
    assert rung.random < rung.best_of_n < rung.mark < rung.oracle


def test_random_and_oracle_are_those_of_the_worlds() -> None:
    assert RUNGS["bandit"].random == pytest.approx(ARMS.random_return)
    assert RUNGS["bandit"].oracle == pytest.approx(ARMS.best_return)
    assert RUNGS["delayed credit"].random == pytest.approx(1 / 5) and RUNGS["delayed credit"].oracle == 1
    # Without an end token to be chosen: one letter right is a third, both right the whole.
    for name in ("copy", "reverse"):
        assert RUNGS[name].random == pytest.approx(1 / 4 * (3 / 4) / 3 + 1 / 16) and RUNGS[name].oracle == 1
    assert replace(PREFERENCE, coef=0.0).random == pytest.approx(PREFERENCES.random_return)
    assert replace(PREFERENCE, coef=0.0).oracle == pytest.approx(PREFERENCES.best_return)


def test_no_shortcut_passes_the_preferences() -> None:
    """Nor the best completion, the reference itself, entropy instead of the KL, half or twice the coefficient."""
    (every,) = PREFERENCE.completions
    greedy = np.eye(len(every.ids))[every.scores.argmax()]
    exponents = {
        "optimum": every.logprobs + every.scores / PREFERENCE.coef,
        "reference": every.logprobs,
        "entropy": every.scores / PREFERENCE.coef,
        "half": every.logprobs + 2 * every.scores / PREFERENCE.coef,
        "twice": every.logprobs + every.scores / PREFERENCE.coef / 2,
    }
    values = {name: objective(PREFERENCE, np.exp(x) / np.exp(x).sum()) for name, x in exponents.items()}
    assert values.pop("optimum") == pytest.approx(PREFERENCE.oracle)
    gap = PREFERENCE.oracle - PREFERENCE.random
    for name, value in (values | {"greedy": objective(PREFERENCE, greedy)}).items():
        assert value < PREFERENCE.mark - 0.05 * gap, name


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_what_trying_every_n_tuple_gives(n: int) -> None:
    rng = np.random.default_rng(n)
    reference = rng.dirichlet(np.ones(5))
    scores = np.array([0.5, -1.0, 0.5, 2.0, 0.0])
    policy = np.zeros(5)
    for drawn in product(range(5), repeat=n):
        winners = [index for index in drawn if scores[index] == scores[list(drawn)].max()]
        for winner in winners:
            policy[winner] += reference[list(drawn)].prod() / len(winners)
    every = Completions(tuple((index,) for index in range(5)), scores, np.log(reference))
    value = best_of_n(every, n, coef=0.7)
    kl = float(policy @ np.log(policy / reference))
    assert value.score == pytest.approx(policy @ scores) and value.kl == pytest.approx(kl, abs=1e-12)
    assert value.objective == pytest.approx(value.score - 0.7 * kl)


def test_best_of_n_stays_below_its_known_bound_and_comes_near_it() -> None:
    """KL <= log n - (n - 1) / n, an equality for scores that never tie (Beirami et al. 2024)."""
    k = 20_000
    fine = Completions(tuple((index,) for index in range(k)), np.arange(k, dtype=float), np.full(k, -np.log(k)))
    for n in (2, 16):
        bound = np.log(n) - (n - 1) / n
        assert bound - 0.01 < best_of_n(fine, n, coef=1.0).kl < bound
    coarse = Completions(((0,), (1,)), np.array([0.0, 1.0]), np.log([0.5, 0.5]))
    assert best_of_n(coarse, 16, coef=1.0).kl < 0.7 * (np.log(16) - 15 / 16)


def test_the_estimate_from_counts_finds_the_objective_and_its_error() -> None:
    """Over many samples of a known policy: right on average, spread as it says; uncorrected it would be too low."""
    (every,) = PREFERENCE.completions
    rng = np.random.default_rng(0)
    policy = rng.dirichlet(np.full(len(every.ids), 3.0))
    exact = objective(PREFERENCE, policy)
    estimates, errors = np.array(
        [estimate(rng.multinomial(300, policy), every, coef=PREFERENCE.coef) for _ in range(4000)]
    ).T
    bias = (len(policy) - 1) / 600
    assert abs(estimates.mean() - exact) < bias / 5
    assert estimates.std() == pytest.approx(errors.mean(), rel=0.05)
    covered = np.abs(estimates - exact) < 1.96 * errors
    assert 0.93 < covered.mean() < 0.97
