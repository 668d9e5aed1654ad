"""The frontier is increasing and concave with the coefficients as its slopes, and no policy stands above it."""

from typing import Any

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.oracle import PrefixTree, best_score_within, evaluate, frontier, prefix_tree, uniform_policy

COEFS = np.geomspace(20, 0.1, 40)


def random_tree(seed: int) -> PrefixTree:
    rng = np.random.default_rng(seed)
    return prefix_tree(4, 4, eos_id=0, score=lambda batch: rng.normal(size=len(batch)))


def random_policy(tree: PrefixTree, rng: np.random.Generator, sharpness: float = 1.0) -> list[np.ndarray]:
    return [np.log(rng.dirichlet(np.full(end.shape[1], 1 / sharpness), size=len(end)) + 1e-12) for end in tree.ends]


@pytest.mark.parametrize("seed", range(5))
def test_more_kl_buys_more_score_at_a_falling_rate_which_is_the_coefficient(seed: int) -> None:
    tree = random_tree(seed)
    reference = random_policy(tree, np.random.default_rng(seed))
    reached = frontier(tree, reference, COEFS)
    assert (np.diff(reached.kl) > 0).all() and (np.diff(reached.score) > 0).all()
    slopes = np.diff(reached.score) / np.diff(reached.kl)
    assert (np.diff(slopes) < 0).all()
    # Between two optima a concave curve rises by less than its slope at the first and more than at the second.
    assert (slopes <= COEFS[:-1] + 1e-9).all() and (slopes >= COEFS[1:] - 1e-9).all()


def test_no_policy_stands_above_the_frontier() -> None:
    tree, rng = random_tree(0), np.random.default_rng(1)
    reference = random_policy(tree, rng)
    reached = frontier(tree, reference, COEFS)
    for sharpness in (0.1, 1.0, 10.0) * 20:
        other = evaluate(tree, random_policy(tree, rng, sharpness), reference, coef=0.0)
        # Under every tangent.
        assert (other.score <= reached.score + COEFS * (other.kl - reached.kl) + 1e-9).all()


def test_it_runs_from_the_reference_to_the_best_completion() -> None:
    tree = random_tree(0)
    reference = uniform_policy(tree)
    reached = frontier(tree, reference, [1e5, 1e-4])
    assert reached.kl[0] == pytest.approx(0, abs=1e-6)
    assert reached.score[0] == pytest.approx(evaluate(tree, reference, reference, coef=0.0).score, abs=1e-4)
    assert reached.score[1] == pytest.approx(max(scores.max() for scores in tree.scores), abs=1e-6)


def test_the_best_score_within_a_kl_is_the_frontier_s_there_and_no_policy_with_that_kl_has_more() -> None:
    tree, rng = random_tree(2), np.random.default_rng(2)
    reference = random_policy(tree, rng)
    reached = frontier(tree, reference, COEFS[::8])
    for kl, score in zip(reached.kl, reached.score, strict=True):
        assert best_score_within(tree, reference, kl=kl) == pytest.approx(score, abs=1e-9)
    for sharpness in (0.1, 1.0, 10.0):
        other = evaluate(tree, random_policy(tree, rng, sharpness), reference, coef=0.0)
        assert other.score < best_score_within(tree, reference, kl=other.kl)
    # More than the best completion there is none, and no KL buys nothing.
    assert best_score_within(tree, reference, kl=100) == pytest.approx(max(map(np.max, tree.scores)), abs=1e-6)
    unchanged = evaluate(tree, reference, reference, coef=0.0).score
    assert best_score_within(tree, reference, kl=1e-12) == pytest.approx(unchanged, abs=1e-5)


def test_a_judge_reports_its_own_score_of_the_same_policies() -> None:
    tree, judge = random_tree(0), random_tree(1)
    opposite = PrefixTree(tree.prefixes, tree.ends, tuple(-scores for scores in tree.scores))
    reference = uniform_policy(tree)
    own, foreign = frontier(tree, reference, COEFS), frontier(tree, reference, COEFS, judge=judge)
    np.testing.assert_array_equal(own.kl, foreign.kl)
    np.testing.assert_allclose(frontier(tree, reference, COEFS, judge=opposite).score, -own.score)
    best_of_judge = frontier(judge, reference, COEFS)
    # What serves one score is at best as good for another as serving that other at the same price of KL.
    assert (foreign.score - COEFS * foreign.kl < best_of_judge.score - COEFS * best_of_judge.kl).all()


def enumerate_completions(tree: PrefixTree, policy: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and probabilities of all completions, prefix by prefix."""
    scores, probabilities = [], []
    level = [0.0]
    for end, score, logs in zip(tree.ends, tree.scores, policy, strict=True):
        following = []
        for row, prefix in enumerate(level):
            for token in range(end.shape[1]):
                if end[row, token]:
                    scores.append(score[row, token])
                    probabilities.append(np.exp(prefix + logs[row, token]))
                else:
                    following.append(prefix + logs[row, token])
        level = following
    return np.array(scores), np.array(probabilities)


def brute_force_best(scores: np.ndarray, probabilities: np.ndarray, kl: float) -> float:
    """The score of the tilted distribution whose KL is `kl`, by bisection over the tilt, in the flat list."""
    best = scores[probabilities > 0].max()
    low, high = 0.0, 1e9
    for _ in range(300):
        tilt = (low + high) / 2
        weights = probabilities * np.exp(tilt * (scores - best))
        q = weights / weights.sum()
        live = q > 0
        divergence = float((q[live] * np.log(q[live] / probabilities[live])).sum())
        low, high = (tilt, high) if divergence < kl else (low, tilt)
    return float(q @ scores)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_score_within_any_kl_is_what_a_list_of_all_completions_gives(seed: int) -> None:
    tree = random_tree(seed)
    reference = random_policy(tree, np.random.default_rng(seed))
    scores, probabilities = enumerate_completions(tree, reference)
    enough = -np.log(probabilities[scores.argmax()])
    for kl in (1e-6, 1e-3, 0.1, 1.0, 0.5 * enough, 0.99 * enough):
        assert best_score_within(tree, reference, kl=kl) == pytest.approx(
            brute_force_best(scores, probabilities, kl), abs=1e-6
        )
    for kl in (enough * (1 + 1e-9), 100.0, 1e30, 1e38, np.inf):
        assert best_score_within(tree, reference, kl=kl) == scores.max()
    for kl in (0.0, 5e-324, 1e-300, 1e-30, 1e-18):
        gain = best_score_within(tree, reference, kl=kl) - float(probabilities @ scores)
        assert -1e-12 <= gain <= np.ptp(scores) * (kl / 2) ** 0.5 + 1e-12


def test_a_best_completion_that_the_reference_never_writes_does_not_count() -> None:
    tree = random_tree(1)
    reference = uniform_policy(tree)
    scores, _ = enumerate_completions(tree, reference)
    first = np.full(4, -np.log(3.0))
    # The completions that begin with the last token are impossible.
    first[3] = -np.inf
    reference[0] = first[None]
    scores, probabilities = enumerate_completions(tree, reference)
    assert best_score_within(tree, reference, kl=np.inf) == scores[probabilities > 0].max()


@pytest.mark.parametrize("kl", [-1.0, -1e-30, float("nan"), float("-inf"), 1e300, "1"])
def test_a_kl_that_is_none_is_refused(kl: Any) -> None:
    tree = random_tree(0)
    with pytest.raises(InputError, match="kl must be"):
        best_score_within(tree, uniform_policy(tree), kl=kl)


def test_equal_scores_are_reached_with_no_kl() -> None:
    tree = prefix_tree(3, 3, eos_id=0, score=lambda batch: np.full(len(batch), 0.25))
    for kl in (0.0, 1e-9, 1.0, np.inf):
        assert best_score_within(tree, uniform_policy(tree), kl=kl) == 0.25
