"""Epoch order: every prompt once per epoch and slot, all orders equally likely, slots as single environments."""

from collections import Counter
from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
import pytest

from textrl_env import InputError, TextGenEnv, TextGenVectorEnv
from textrl_env.mdp.prompt_order import EpochOrder
from textrl_env.worlds import LetterTokenizer

PROMPTS = list("abcdefg")


def arguments(**options: Any) -> dict[str, Any]:
    return {
        "prompts": PROMPTS,
        "reward": lambda prompts, completions: [0.0] * len(prompts),
        "tokenizer": LetterTokenizer(8),
        "max_new_tokens": 1,
        "prompt_order": "epoch",
    } | options


def drawn(env: TextGenEnv, n: int, seed: int | None = None) -> list[int]:
    return [env.reset(seed=seed if k == 0 else None)[1]["prompt_index"] for k in range(n)]


def test_every_epoch_has_every_prompt_once_in_an_order_of_its_own() -> None:
    env = TextGenEnv(**arguments())
    epochs = np.array(drawn(env, 7 * 50, seed=0)).reshape(50, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 45


def test_all_orders_are_equally_likely() -> None:
    rng, order, n = np.random.default_rng(0), EpochOrder(4), 24_000
    counts = Counter(tuple(order.draw(rng) for _ in range(4)) for _ in range(n))
    assert set(counts) == set(permutations(range(4)))
    expected = n / factorial(4)
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 49.7  # 23 degrees of freedom: exceeded once in a thousand


def test_a_seed_begins_an_epoch_and_decides_it() -> None:
    env = TextGenEnv(**arguments())
    first = drawn(env, 10, seed=3)
    assert drawn(env, 10, seed=3) == first
    assert sorted(drawn(env, 7, seed=4)) == list(range(7))


def test_a_chosen_prompt_leaves_the_order_where_it_is() -> None:
    plain, chosen = TextGenEnv(**arguments()), TextGenEnv(**arguments())
    expected, indices = drawn(plain, 7, seed=5), drawn(chosen, 3, seed=5)
    chosen.reset(options={"prompt_index": 0})
    chosen.reset(options={"prompt": "ab"[:1]})
    assert indices + drawn(chosen, 4) == expected


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_each_slot_is_a_single_environment_with_its_own_seed(mode: str) -> None:
    env = TextGenVectorEnv(**arguments(), num_envs=3, autoreset_mode=mode)
    seen = [env.reset(seed=11)[1]["prompt_index"]]
    while len(seen) < 20:
        info = env.step(np.zeros(3, dtype=np.int64))[4]
        if mode == "NextStep":
            info = env.step(np.zeros(3, dtype=np.int64))[4]
        if mode == "Disabled":
            info = env.reset(options={"reset_mask": np.ones(3, dtype=bool)})[1]
        seen.append(info["prompt_index"])
    for slot, indices in enumerate(np.array(seen).T.tolist()):
        assert indices == drawn(TextGenEnv(**arguments()), 20, seed=11 + slot)


def test_a_slot_seeded_alone_leaves_the_others_in_their_epoch() -> None:
    env = TextGenVectorEnv(**arguments(), num_envs=2, autoreset_mode="Disabled")
    seen = [env.reset(seed=1)[1]["prompt_index"]]
    seen += [env.reset()[1]["prompt_index"] for _ in range(2)]
    seen.append(env.reset(seed=[9, None])[1]["prompt_index"])
    seen += [env.reset()[1]["prompt_index"] for _ in range(3)]
    left, right = np.array(seen).T.tolist()
    assert left[3:] == drawn(TextGenEnv(**arguments()), 4, seed=9)
    assert sorted(right) == list(range(7))


def test_uniform_is_the_default_and_repeats_prompts_within_an_epoch() -> None:
    options = arguments()
    del options["prompt_order"]
    assert len(set(drawn(TextGenEnv(**options), 7, seed=0))) < 7


def test_an_unknown_order_is_named() -> None:
    with pytest.raises(InputError, match="prompt_order must be 'uniform' or 'epoch', got 'shuffled'"):
        TextGenEnv(**arguments(prompt_order="shuffled"))


@pytest.mark.parametrize("order", ["epoch", "uniform"])
def test_environments_that_share_prompts_have_no_prompt_in_common_and_miss_none(order: str) -> None:
    seen = []
    for index in range(3):
        env = TextGenVectorEnv(num_envs=2, autoreset_mode="Disabled", **arguments(prompt_order=order))
        env.share_prompts(index, 3)
        env.reset(seed=index)
        seen.append({drawn for _ in range(60) for drawn in env.reset()[1]["prompt_index"].tolist()})
        # A state goes on where it was.
        state, following = env.state(), env.reset()[1]["prompt_index"].tolist()
        env.restore(state)
        assert env.reset()[1]["prompt_index"].tolist() == following
    n = len(env.task.prompts)
    assert seen == [set(range(index, n, 3)) for index in range(3)]
    with pytest.raises(InputError, match=f"{n} prompts cannot be shared out to 99 environments"):
        env.share_prompts(0, 99)
