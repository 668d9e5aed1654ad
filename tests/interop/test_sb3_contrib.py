"""sb3-contrib's MaskablePPO finds `action_masks()` by itself and keeps to it."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.sb3 import as_sb3_vec_env
from textrl_env.worlds import LetterTokenizer

V, C, MIN, BANNED = 8, 5, 3, (2, 5)


def short(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """Pays for what is forbidden: an early end, and the banned letters."""
    return [5.0 - len(text) + 3 * text.count("b") for text in completions]


OPTIONS: dict[str, Any] = {
    "prompts": ["abc", "de"],
    "reward": short,
    "tokenizer": LetterTokenizer(V),
    "max_new_tokens": C,
    "min_new_tokens": MIN,
    "banned_tokens": BANNED,
}


class Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes every action with its place in the completion, before the environment can refuse it."""

    def reset(self, **options: Any) -> Any:
        self.place, self.taken = 0, getattr(self, "taken", [])
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        self.taken.append((self.place, int(action)))
        self.place += 1
        return super().step(action)


class VecRecorded(VecEnvWrapper):
    """The same for all slots of a vector environment."""

    def reset(self) -> Any:
        self.places, self.taken = np.zeros(self.num_envs, dtype=int), getattr(self, "taken", [])
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self.taken.extend(zip(self.places.tolist(), actions.tolist(), strict=True))
        self.places += 1
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        result = self.venv.step_wait()
        self.places[result[2]] = 0
        return result


def illegal(taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(place, token) for place, token in taken if token in BANNED or (token == 0 and place < MIN)]


def recorded(vector: bool) -> Any:
    if vector:
        return VecRecorded(
            VecMonitor(as_sb3_vec_env(TextGenVectorEnv(**OPTIONS, num_envs=3, autoreset_mode="SameStep")))
        )
    return Recorded(gymnasium.make("TextRL/TextGen-v0", **OPTIONS))


@pytest.mark.parametrize("vector", [False, True])
def test_no_illegal_action_is_ever_taken(vector: bool) -> None:
    env = recorded(vector)
    model = MaskablePPO("MultiInputPolicy", env, n_steps=64, seed=0, device="cpu")
    model.learn(400)
    evaluate_policy(model, env, n_eval_episodes=10, deterministic=False, warn=False)
    assert len(env.taken) >= 400
    assert not illegal(env.taken)
    # The masks close no more than they must: every legal token was tried, ends as early as they may be too.
    assert {token for _, token in env.taken} == set(range(V)) - set(BANNED)
    assert (MIN, 0) in env.taken


def test_without_masks_the_environment_refuses_the_first_illegal_action() -> None:
    env = recorded(False)
    with pytest.raises(InputError, match="action_masks"):
        PPO("MultiInputPolicy", env, n_steps=64, seed=0, device="cpu").learn(64)
    assert illegal(env.taken) == env.taken[-1:]


def test_it_learns(task: Any) -> None:
    env = gymnasium.make("TextRL/TextGen-v0", **task.arguments)
    model = MaskablePPO("MultiInputPolicy", env, n_steps=64, learning_rate=3e-3, gamma=1.0, seed=0, device="cpu")
    model.learn(1000)
    mean, _ = evaluate_policy(model, Monitor(env), n_eval_episodes=5)
    assert task.random + 0.7 * (task.best - task.random) < mean < task.best + 1e-5
