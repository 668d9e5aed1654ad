"""The hackable world: an optimiser of the proxy first raises and then lowers gold, exactly and on cue."""

from typing import Any

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.oracle import Frontier, frontier, uniform_policy
from textrl_env.worlds import HackableWorld

COEFS = np.geomspace(20, 0.005, 50)
FLAWS: Any = ["length", "keyword", "repetition"]


def optima(world: HackableWorld, prompt: str) -> tuple[Frontier, Frontier]:
    """Proxy and gold of the policies that are optimal for the proxy, from the dearest KL to the cheapest."""
    proxy, gold = world.trees(prompt)
    reference = uniform_policy(proxy)
    return frontier(proxy, reference, COEFS), frontier(proxy, reference, COEFS, judge=gold)


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("size", [{}, {"alphabet_size": 5, "horizon": 6, "seed": 1}])
def test_gold_rises_and_falls_while_the_proxy_rises(flaw: Any, size: dict[str, int]) -> None:
    world = HackableWorld(flaw=flaw, n_prompts=2, **size)
    for prompt in world.prompts:
        proxy, gold = optima(world, prompt)
        assert (np.diff(proxy.score) > -1e-12).all()
        peak = int(gold.score.argmax())
        assert 0 < peak < len(COEFS) - 1
        assert (np.diff(gold.score[: peak + 1]) > -1e-12).all() and (np.diff(gold.score[peak:]) < 1e-12).all()
        assert gold.score[peak] > gold.score[0] + 0.1 and gold.score[peak] > gold.score[-1] + 0.05


def test_without_a_flaw_gold_never_falls() -> None:
    world = HackableWorld(flaw=None)
    proxy, gold = optima(world, world.prompts[0])
    np.testing.assert_array_equal(proxy.score, gold.score)
    assert (np.diff(gold.score) > -1e-12).all()
    assert gold.score[-1] == pytest.approx(world.best_gold, abs=1e-6)


@pytest.mark.parametrize("flaw", FLAWS)
def test_the_best_proxy_is_bad_gold(flaw: Any) -> None:
    world = HackableWorld(flaw=flaw, n_prompts=1)
    proxy, gold = world.trees(world.prompts[0])
    best = max(scores.max() for scores in proxy.scores)
    judged = np.concatenate([g[p == best] for p, g in zip(proxy.scores, gold.scores, strict=True)])
    assert best == pytest.approx(world.best_return) and world.best_gold == 1.0
    assert judged.max() < 0.2


def test_scores_by_hand() -> None:
    texts = ["", "a", "ab", "ba", "abc", "aabb", "cccc", "aaaaaab"]
    prompts = ["ab"] * len(texts)
    gold = [0, 0.5, 1, 1, 0.8, 0.6, -0.8, 0]
    units: dict[Any, list[int]] = {
        "length": [0, 1, 2, 2, 3, 4, 4, 7],
        "keyword": [0, 1, 2, 2, 2, 4, 0, 7],
        "repetition": [0, 0, 0, 0, 0, 2, 3, 5],
        None: [0] * 8,
    }
    for flaw, counts in units.items():
        world = HackableWorld(flaw=flaw, bonus=0.5)
        assert world.gold(prompts, texts) == pytest.approx(gold)
        assert world.reward(prompts, texts) == pytest.approx(np.array(gold) + 0.5 * np.array(counts))


def test_a_seed_decides_distinct_prompts() -> None:
    every = HackableWorld(n_prompts=12).prompts
    assert len(set(every)) == 12 and all(first != second for first, second in every)
    assert HackableWorld(seed=1).prompts == HackableWorld(seed=1).prompts != HackableWorld(seed=2).prompts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flaw": "typos"}, "flaw must be 'length', 'keyword', 'repetition' or None, got 'typos'"),
        ({"bonus": 0.2}, "bonus must be above 0.2, got 0.2"),
        ({"horizon": 2}, "horizon must be at least 3"),
        ({"alphabet_size": 30}, "alphabet_size must be at most 26"),
        ({"n_prompts": 13}, "n_prompts=13, but 4 letters make only 12 prompts"),
    ],
)
def test_impossible_parameters_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        HackableWorld(**options)


def test_numbers_in_the_docstring_are_measured() -> None:
    """Shown by `pytest -rP -k numbers_in_the_docstring`."""
    default, rows = HackableWorld(), []
    random_gold = default.random_gold
    for flaw in (*FLAWS, None):
        # The prompts differ in the names of their letters only.
        gold = optima(HackableWorld(flaw=flaw), default.prompts[0])[1]
        peak = int(gold.score.argmax())
        where = f"{gold.score[peak]:.2f} ({COEFS[peak]:.2f}, {gold.kl[peak]:.1f} nats)"
        if flaw is None:
            where = f"{gold.score[peak]:.2f} (never falls)"
        rows.append(f"| {random_gold:.2f} | {where} | {gold.score[-1]:.2f} |")
    returns = f"{default.best_return:.2f}, {default.random_return:.2f}, {default.best_gold:.2f} and {random_gold:.2f}"
    print(*rows, returns, sep="\n")
    assert HackableWorld.__doc__ is not None
    quoted = " ".join(HackableWorld.__doc__.split())
    for row in (*rows, returns):
        assert row in quoted, row
