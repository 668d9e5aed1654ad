"""TorchRL's Gymnasium wrappers: specs that hold, and rollouts that are ours."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchrl.envs import EnvBase, GymEnv, GymWrapper, SerialEnv
from torchrl.envs.utils import check_env_specs

from textrl_env import TextGenEnv, TextGenVectorEnv
from textrl_env.worlds import EnumerableWorld

N, STEPS = 3, 40
WORLD = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=4)
OPTIONS: dict[str, Any] = {
    "prompts": WORLD.prompts,
    "reward": WORLD.reward,
    "tokenizer": WORLD.tokenizer,
    "max_new_tokens": WORLD.horizon,
}
MAKERS: dict[str, Callable[[], EnvBase]] = {
    "GymWrapper": lambda: GymWrapper(TextGenEnv(**OPTIONS)),
    "GymEnv": lambda: GymEnv("TextRL/TextGen-v0", **OPTIONS),
    "GymEnv, tokens as integers": lambda: GymEnv("TextRL/TextGen-v0", categorical_action_encoding=True, **OPTIONS),
    "SerialEnv": lambda: SerialEnv(N, MAKERS["GymWrapper"]),
    "vector environment": lambda: GymWrapper(TextGenVectorEnv(**OPTIONS, num_envs=N, autoreset_mode="Disabled")),
}


@pytest.mark.parametrize("name", MAKERS)
def test_specs_hold(name: str) -> None:
    check_env_specs(MAKERS[name]())


@pytest.mark.parametrize("name", MAKERS)
def test_a_rollout_has_our_observations_and_rewards(name: str) -> None:
    """Every slot's tokens are played again from the same prompts, and scored by the world alone."""
    env = MAKERS[name]()
    torch.manual_seed(0)
    rollout = env.rollout(STEPS, break_when_any_done=False)
    rollout = rollout if rollout.ndim == 2 else rollout[None]
    action = rollout["action"]
    tokens = action if action.ndim == 2 else action.argmax(dim=-1)
    again = TextGenEnv(**OPTIONS, include_text=True)
    endings = 0
    for slot in range(len(rollout)):
        running = False
        for step in range(STEPS):
            now, following = rollout[slot, step], rollout[slot, step]["next"]
            if not running:
                ids = now["input_ids"][now["attention_mask"].bool()].tolist()
                observation, _ = again.reset(options={"prompt": WORLD.tokenizer.decode(ids)})
                same(now, observation)
            observation, reward, terminated, truncated, info = again.step(int(tokens[slot, step]))
            same(following, observation)
            assert following["reward"].item() == pytest.approx(reward, abs=1e-5)
            assert (following["terminated"].item(), following["truncated"].item()) == (terminated, truncated)
            if terminated:
                endings += 1
                assert reward == pytest.approx(WORLD.reward([info["prompt"]], [info["completion"]])[0], abs=1e-5)
            running = not (terminated or truncated)
    assert endings > 10 * len(rollout)


def same(theirs: Any, ours: dict[str, np.ndarray]) -> None:
    for key, values in ours.items():
        np.testing.assert_array_equal(theirs[key].numpy(), values)
        assert theirs[key].numpy().dtype == values.dtype
