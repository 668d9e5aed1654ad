"""The vector environment's state: through JSON and into another one, the same episodes start."""

import json
from typing import Any

import numpy as np
import pytest

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.mdp.prompt_order import EpochOrder
from textrl_env.worlds import LetterTokenizer


def make(order: str = "epoch", *, n_prompts: int = 7, num_envs: int = 3, mode: str = "SameStep") -> TextGenVectorEnv:
    return TextGenVectorEnv(
        list("abcdefg")[:n_prompts],
        lambda prompts, completions: [0.0] * len(prompts),
        LetterTokenizer(8),
        num_envs=num_envs,
        autoreset_mode=mode,
        max_new_tokens=2,
        prompt_order=order,
    )  # type: ignore[arg-type]


def prompts(env: TextGenVectorEnv, steps: int) -> list[list[int]]:
    """Which prompt every slot has, step by step, after a reset without a seed."""
    seen = [env.reset()[1]["prompt_index"].tolist()]
    for step in range(steps):
        seen.append(env.step(np.full(env.num_envs, 1 + step % 7))[4]["prompt_index"].tolist())
    return seen


@pytest.mark.parametrize("order", ["epoch", "uniform"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_another_environment_goes_on_with_the_same_prompts(order: str, mode: str) -> None:
    for steps in (0, 3, 9):
        first, second = make(order, mode=mode), make(order, mode=mode)
        first.reset(seed=5)
        prompts(first, steps)
        second.reset(seed=77)
        prompts(second, 4)
        second.restore(json.loads(json.dumps(first.state())))
        assert second.state() == first.state()
        assert prompts(first, 30) == prompts(second, 30)
        assert second.state() == first.state()


def test_the_middle_of_an_epoch_is_remembered() -> None:
    rng, order = np.random.default_rng(0), EpochOrder(5)
    drawn = [order.draw(rng) for _ in range(3)]
    other = EpochOrder(5)
    other.restore(json.loads(json.dumps(order.state())))
    assert sorted(drawn + [other.draw(rng) for _ in range(2)]) == list(range(5))


def test_restored_it_runs_no_episode_until_reset() -> None:
    env = make(mode="Disabled")
    env.reset(seed=0)
    state = env.state()
    env.kl_coef = 0.7
    env.restore(state)
    assert not env.live.any() and env.kl_coef == 0.0
    with pytest.raises(InputError, match=r"reset\(\) first"):
        env.step(np.ones(3, dtype=np.int64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 4}, "num_envs 3, this one has 4"),
        ({"n_prompts": 6}, "n_prompts 7, this one has 6"),
        ({"order": "uniform"}, "prompt_order 'epoch', this one has 'uniform'"),
    ],
)
def test_a_state_of_another_environment_is_refused_and_changes_nothing(options: dict[str, Any], message: str) -> None:
    env = make(**options)
    env.reset(seed=3)
    before = env.state()
    with pytest.raises(InputError, match=message):
        env.restore(make().state())
    assert env.state() == before and env.live.all()
