"""The exact optimum against brute force over whole completions, and against every other policy."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.oracle import PrefixTree, evaluate, prefix_tree, solve
from textrl_env.prefix_logprobs import prefix_logprobs
from textrl_env.worlds.enumerable import EnumerableWorld

WORLD = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=2, seed=1)
Policy = list[np.ndarray]


def random_policy(tree: PrefixTree, seed: int) -> Policy:
    rng = np.random.default_rng(seed)
    return [np.log(rng.dirichlet(np.ones(end.shape[1]), size=len(end))) for end in tree.ends]


def completions(vocab_size: int, horizon: int, eos: int | None) -> list[tuple[int, ...]]:
    """Every token sequence that is a finished completion, by trying them all."""
    found = []
    for length in range(1, horizon + 1):
        for ids in itertools.product(range(vocab_size), repeat=length):
            if eos not in ids[:-1] and (length == horizon or ids[-1] == eos):
                found.append(ids)
    return found


def logprob_of(tree: PrefixTree, policy: Policy, ids: tuple[int, ...]) -> float:
    total = 0.0
    for depth, token in enumerate(ids):
        row = tree.prefixes[depth].tolist().index(list(ids[:depth]))
        total += policy[depth][row, token]
    return total


def brute_force(tree: PrefixTree, policy: Policy, reference: Policy, coef: float) -> tuple[float, float, float]:
    """Objective, score and KL of a policy, summed over whole completions."""
    score = kl = 0.0
    for ids, paid in scores(WORLD.prompts[0]).items():
        logprob = logprob_of(tree, policy, ids)
        score += math.exp(logprob) * paid
        kl += math.exp(logprob) * (logprob - logprob_of(tree, reference, ids))
    return score - coef * kl, score, kl


def scores(prompt: str) -> dict[tuple[int, ...], float]:
    every = completions(WORLD.vocab_size, WORLD.horizon, 0)
    texts = ["".join("abcd"[token - 1] for token in ids if token) for ids in every]
    return dict(zip(every, WORLD.reward([prompt] * len(every), texts), strict=True))


@pytest.fixture
def tree() -> PrefixTree:
    return WORLD.tree(WORLD.prompts[0])


@pytest.fixture
def reference(tree: PrefixTree) -> Policy:
    return random_policy(tree, seed=0)


@pytest.mark.parametrize("coef", [0.01, 0.1, 1.0, 10.0])
def test_the_solution_is_the_tilted_reference(tree: PrefixTree, reference: Policy, coef: float) -> None:
    solution = solve(tree, reference, coef=coef)
    paid = scores(WORLD.prompts[0])
    log_weights = {ids: logprob_of(tree, reference, ids) + value / coef for ids, value in paid.items()}
    peak = max(log_weights.values())
    log_total = peak + math.log(math.fsum(math.exp(weight - peak) for weight in log_weights.values()))
    assert solution.objective == pytest.approx(coef * log_total, abs=1e-10)
    for ids, weight in log_weights.items():
        assert logprob_of(tree, list(solution.log_policy), ids) == pytest.approx(weight - log_total, abs=1e-9)
    for level in solution.log_policy:
        np.testing.assert_allclose(np.exp(level).sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("coef", [0.01, 0.1, 1.0, 10.0])
def test_the_solution_reaches_its_objective_and_nothing_exceeds_it(
    tree: PrefixTree, reference: Policy, coef: float
) -> None:
    solution = solve(tree, reference, coef=coef)
    reached = evaluate(tree, solution.log_policy, reference, coef=coef)
    assert reached.objective == pytest.approx(solution.objective, abs=1e-10)
    rng = np.random.default_rng(0)
    for seed in range(30):
        # Near the optimum as well as far from it.
        share = rng.random() ** 4
        other = [np.logaddexp(np.log1p(-share) + best, np.log(share) + some)
                 for best, some in zip(solution.log_policy, random_policy(tree, seed), strict=True)]  # fmt: skip
        assert evaluate(tree, other, reference, coef=coef).objective <= solution.objective + 1e-12
    assert evaluate(tree, reference, reference, coef=coef).objective < solution.objective


def test_evaluate_equals_a_sum_over_all_completions(tree: PrefixTree, reference: Policy) -> None:
    policy = random_policy(tree, seed=1)
    exact = evaluate(tree, policy, reference, coef=0.3)
    objective, score, kl = brute_force(tree, policy, reference, 0.3)
    assert (exact.objective, exact.score, exact.kl) == pytest.approx((objective, score, kl), abs=1e-12)
    assert evaluate(tree, policy, policy, coef=0.3).kl == pytest.approx(0, abs=1e-12)


def test_evaluate_takes_a_deterministic_policy(tree: PrefixTree, reference: Policy) -> None:
    greedy = [np.where(np.arange(level.shape[1]) == 2, 0.0, -np.inf) for level in reference]
    exact = evaluate(tree, greedy, reference, coef=1.0)
    assert exact.score == pytest.approx(scores(WORLD.prompts[0])[(2, 2, 2)])
    assert exact.kl == pytest.approx(-logprob_of(tree, reference, (2, 2, 2)))


def test_a_dear_kl_keeps_the_reference_and_a_cheap_one_finds_the_best_completion(
    tree: PrefixTree, reference: Policy
) -> None:
    dear = solve(tree, reference, coef=1e6)
    for mine, theirs in zip(dear.log_policy, reference, strict=True):
        np.testing.assert_allclose(np.exp(mine), np.exp(theirs), atol=1e-5)
    assert dear.objective == pytest.approx(evaluate(tree, reference, reference, coef=0.0).score, abs=1e-4)
    cheap = solve(tree, reference, coef=1e-5)
    assert cheap.objective == pytest.approx(max(scores(WORLD.prompts[0]).values()), abs=1e-3)


@pytest.mark.parametrize(("vocab_size", "horizon", "eos"), [(4, 3, 0), (3, 4, 2), (3, 3, None), (2, 1, 0)])
def test_the_tree_holds_every_completion_once(vocab_size: int, horizon: int, eos: int | None) -> None:
    asked: list[tuple[int, ...]] = []

    def score(batch: list[list[int]]) -> list[float]:
        asked.extend(map(tuple, batch))
        return [float(len(ids)) for ids in batch]

    tree = prefix_tree(vocab_size, horizon, eos_id=eos, score=score)
    assert sorted(asked) == sorted(completions(vocab_size, horizon, eos))
    for depth in range(horizon):
        assert tree.prefixes[depth].shape[1] == depth
        assert (tree.scores[depth] == np.where(tree.ends[depth], depth + 1.0, 0.0)).all()


def test_impossible_arguments_are_named(tree: PrefixTree, reference: Policy) -> None:
    with pytest.raises(InputError, match="coef must be above 0, got 0"):
        solve(tree, reference, coef=0)
    with pytest.raises(InputError, match="100 tokens and horizon 5"):
        prefix_tree(100, 5, eos_id=0, score=lambda batch: [0.0] * len(batch))


def test_prefix_logprobs_are_those_of_single_prefixes(model: Any, exact_logprobs: Any) -> None:
    world = EnumerableWorld(vocab_size=4, horizon=3, n_prompts=1)
    tree, prompt = world.tree(world.prompts[0]), np.array(world.tokenizer.encode(world.prompts[0]))
    slow = exact_logprobs(model, vocab_size=4)
    levels = prefix_logprobs(model, prompt, tree, vocab_size=4, batch_size=5)
    for level, prefixes in zip(levels, tree.prefixes, strict=True):
        for row, prefix in enumerate(prefixes):
            np.testing.assert_allclose(level[row], slow([*prompt, *prefix])[-1], rtol=0, atol=1e-5)


def test_a_worlds_score_is_what_its_tree_pays_and_follows_from_its_seed() -> None:
    prompt = WORLD.prompts[0]
    tree = WORLD.tree(prompt)
    for ids, value in scores(prompt).items():
        depth = len(ids) - 1
        row = tree.prefixes[depth].tolist().index(list(ids[:-1]))
        assert tree.scores[depth][row, ids[-1]] == value
    again = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=2, seed=1)
    other = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=2, seed=2)
    assert again.reward([prompt], ["ab"]) == WORLD.reward([prompt], ["ab"]) != other.reward([prompt], ["ab"])
    assert len(set(WORLD.prompts)) == 2
