"""The frontier is increasing and concave with the coefficients as its slopes, and no policy stands above it."""

import numpy as np
import pytest

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
