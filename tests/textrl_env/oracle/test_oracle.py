"""The exact optimum against brute force over whole completions, and against every other policy."""

import itertools
import math

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.oracle import PrefixTree, evaluate, prefix_tree, regret, solve
from textrl_env.worlds import EnumerableWorld, exact

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


def always(token: int, tree: PrefixTree) -> Policy:
    """The policy that chooses one token everywhere."""
    return [np.where(np.arange(end.shape[1]) == token, 0.0, -np.inf) * np.ones((len(end), 1)) for end in tree.ends]


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
        other = [
            np.logaddexp(np.log1p(-share) + best, np.log(share) + some)
            for best, some in zip(solution.log_policy, random_policy(tree, seed), strict=True)
        ]
        assert evaluate(tree, other, reference, coef=coef).objective <= solution.objective + 1e-12
    assert evaluate(tree, reference, reference, coef=coef).objective < solution.objective


def test_evaluate_equals_a_sum_over_all_completions(tree: PrefixTree, reference: Policy) -> None:
    policy = random_policy(tree, seed=1)
    found = evaluate(tree, policy, reference, coef=0.3)
    objective, score, kl = brute_force(tree, policy, reference, 0.3)
    assert (found.objective, found.score, found.kl) == pytest.approx((objective, score, kl), abs=1e-12)
    assert evaluate(tree, policy, policy, coef=0.3).kl == pytest.approx(0, abs=1e-12)


def test_evaluate_takes_a_deterministic_policy(tree: PrefixTree, reference: Policy) -> None:
    greedy = always(2, tree)
    found = evaluate(tree, greedy, reference, coef=1.0)
    assert found.score == pytest.approx(scores(WORLD.prompts[0])[(2, 2, 2)])
    assert found.kl == pytest.approx(-logprob_of(tree, reference, (2, 2, 2)))


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

    def score(batch: np.ndarray) -> list[float]:
        asked.extend(map(tuple, batch.tolist()))
        return [float(len(ids)) for ids in batch]

    tree = prefix_tree(vocab_size, horizon, eos_id=eos, score=score)
    assert sorted(asked) == sorted(completions(vocab_size, horizon, eos))
    for depth in range(horizon):
        assert tree.prefixes[depth].shape[1] == depth
        assert (tree.scores[depth] == np.where(tree.ends[depth], depth + 1.0, 0.0)).all()


@pytest.mark.parametrize("concentration", [1.0, 0.02], ids=["broad", "peaked"])
@pytest.mark.parametrize(("vocab_size", "horizon", "eos"), [(2, 9, 0), (3, 6, None), (6, 3, 2), (40, 2, 7), (5, 1, 0)])
@pytest.mark.parametrize("coef", [1e-3, 0.05, 1.0, 30.0])
def test_the_optimum_of_any_tree_is_the_sum_over_its_completions_is_reached_and_never_exceeded(
    vocab_size: int, horizon: int, eos: int | None, coef: float, concentration: float
) -> None:
    rng = np.random.default_rng(horizon)
    paid: dict[tuple[int, ...], float] = {}

    def score(batch: np.ndarray) -> list[float]:
        paid.update((tuple(ids), float(rng.normal(scale=3))) for ids in batch.tolist())
        return [paid[tuple(ids)] for ids in batch.tolist()]

    tree = prefix_tree(vocab_size, horizon, eos_id=eos, score=score)
    widths = [(len(end), vocab_size) for end in tree.ends]
    # A peaked reference gives most tokens less than 1e-20; a floor keeps its logarithms finite.
    reference = [np.log(rng.dirichlet(np.full(width, concentration), size=n) + 1e-200) for n, width in widths]
    rows = [{tuple(prefix): row for row, prefix in enumerate(level.tolist())} for level in tree.prefixes]
    exponents = [
        value / coef + math.fsum(reference[t][rows[t][ids[:t]], token] for t, token in enumerate(ids))
        for ids, value in paid.items()
    ]
    assert set(paid) == set(completions(vocab_size, horizon, eos))
    best = coef * (max(exponents) + math.log(math.fsum(math.exp(each - max(exponents)) for each in exponents)))
    solution = solve(tree, reference, coef=coef)
    assert solution.objective == pytest.approx(best, rel=0, abs=1e-10)
    reached = evaluate(tree, solution.log_policy, reference, coef=coef)
    assert reached.objective == pytest.approx(solution.objective, rel=0, abs=1e-10)
    for sharpness in (0.1, 1.0, 10.0) * 3:
        other = [np.log(rng.dirichlet(np.full(width, sharpness), size=n) + 1e-200) for n, width in widths]
        assert evaluate(tree, other, reference, coef=coef).objective <= solution.objective


@pytest.mark.parametrize("coef", [0.05, 1.0])
def test_regret_is_what_the_policy_pays_for_its_distance_to_the_optimum(
    tree: PrefixTree, reference: Policy, coef: float
) -> None:
    best, policy = solve(tree, reference, coef=coef).log_policy, random_policy(tree, seed=3)
    apart = sum(
        math.exp(logprob_of(tree, policy, ids)) * (logprob_of(tree, policy, ids) - logprob_of(tree, list(best), ids))
        for ids in scores(WORLD.prompts[0])
    )
    assert regret(tree, policy, reference, coef=coef) == pytest.approx(coef * apart, abs=1e-10)
    assert regret(tree, best, reference, coef=coef) == pytest.approx(0, abs=1e-10)


def test_what_the_reference_never_does_costs_infinitely_and_the_optimum_never_does_it(tree: PrefixTree) -> None:
    only_b = always(2, tree)
    solution = solve(tree, only_b, coef=0.5)
    assert solution.objective == pytest.approx(scores(WORLD.prompts[0])[(2, 2, 2)])
    assert evaluate(tree, solution.log_policy, only_b, coef=0.5).objective == pytest.approx(solution.objective)
    forbidden = evaluate(tree, always(1, tree), only_b, coef=0.5)
    assert (forbidden.kl, forbidden.objective) == (np.inf, -np.inf)
    # Only below a first token that is never taken: nothing is paid for it.
    never = [only_b[0], *always(1, tree)[1:]]
    never[1][2 - 1], never[2] = only_b[1][2 - 1], only_b[2]
    assert evaluate(tree, never, only_b, coef=0.5).kl == 0


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch, reference: Policy) -> None:
    def everything() -> list[np.ndarray]:
        tree = WORLD.tree(WORLD.prompts[0])
        solution = solve(tree, reference, coef=0.1)
        reached = evaluate(tree, random_policy(tree, seed=1), reference, coef=0.1)
        numbers = np.array([reached.objective, reached.score, reached.kl, solution.objective])
        return [numbers, *solution.log_policy, *solution.values, *tree.prefixes, *tree.scores]

    whole = everything()
    monkeypatch.setattr("textrl_env.oracle.tree.BLOCK", 15)
    for mine, theirs in zip(everything(), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_impossible_arguments_are_named(tree: PrefixTree, reference: Policy) -> None:
    with pytest.raises(InputError, match="coef must be above 0, got 0"):
        solve(tree, reference, coef=0)
    with pytest.raises(InputError, match=r"log_policy must have a level .* \(4, 5\).* got \[\(1, 5\)\]"):
        evaluate(tree, reference[:1], reference, coef=1.0)
    with pytest.raises(InputError, match=r"log_reference\[2\] must be log-probabilities.* row 7 sum to 2\.71828"):
        solve(tree, [*reference[:2], reference[2] + (np.arange(16) == 7)[:, None]], coef=1.0)
    # Single precision is no error.
    evaluate(tree, [level.astype(np.float32) for level in reference], reference, coef=1.0)


@pytest.mark.parametrize(
    ("vocab_size", "horizon", "eos", "value", "message"),
    [
        (100, 5, 0, 0.0, "100 tokens and horizon 5 make 97,039,801 prefixes"),
        (1000, 3, 0, 0.0, "999,001 prefixes and 998,002,000 completions"),
        (0, 3, None, 0.0, "vocab_size must be at least 1, got 0"),
        (3, 2, 3, 0.0, "eos_id must be one of the 3 tokens or None, got 3"),
        (3, 2, 0, np.nan, r"score returned nan for \[0\]; it must be finite"),
        (3, 2, 0, [], r"score must return 1 numbers, one a completion, got shape \(1, 0\)"),
    ],
)
def test_an_impossible_tree_is_named(
    vocab_size: int, horizon: int, eos: int | None, value: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prefix_tree(vocab_size, horizon, eos_id=eos, score=lambda batch: [value] * len(batch))


def test_a_worlds_score_is_what_its_tree_pays_and_follows_from_its_seed() -> None:
    prompt = WORLD.prompts[0]
    tree = WORLD.tree(prompt)
    for ids, value in scores(prompt).items():
        depth = len(ids) - 1
        row = tree.prefixes[depth].tolist().index(list(ids[:-1]))
        assert tree.scores[depth][row, ids[-1]] == value
    for one, other in zip(exact.completion_tree(WORLD, prompt).scores, tree.scores, strict=True):
        np.testing.assert_array_equal(one, other)
    again = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=2, seed=1)
    other = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=2, seed=2)
    assert again.reward([prompt], ["ab"]) == WORLD.reward([prompt], ["ab"]) != other.reward([prompt], ["ab"])
    assert len(set(WORLD.prompts)) == 2
