"""REINFORCE on a table of logits in plain numpy, which knows nothing of `textrl_env.agents`, and ways to break it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from textrl_env import TextGenVectorEnv

Array = np.ndarray


@dataclass
class Tabular:
    """A softmax policy with a row of logits and a baseline for every state that it tells apart.

    Its environment has KL mode "sampled". What can be broken: `sign` of the gradient, the discount `gamma`, what the
    agent can `see` of the tokens so far, and which part of the reward it is `paid`.
    """

    env: TextGenVectorEnv
    seed: int
    learning_rate: float = 0.2
    sign: float = 1.0
    gamma: float = 1.0
    see: Callable[[list[int], int], tuple[int, ...]] = lambda tokens, n_prompt: tuple(tokens)
    paid: Callable[[Array, dict[str, Any]], Array] = lambda rewards, info: rewards
    logits: dict[tuple[int, ...], Array] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.logits = defaultdict(lambda: np.zeros(self.env.task.vocab_size))
        self.baselines: dict[tuple[int, ...], float] = defaultdict(float)

    def learn(self, total_timesteps: int) -> None:
        observation, _ = self.env.reset(seed=self.seed)
        n = self.env.num_envs
        episodes: list[list[tuple[tuple[int, ...], int, float]]] = [[] for _ in range(n)]
        for step in range(total_timesteps // n):
            states = self._states(observation)
            tokens, logprobs = self._sample(states)
            observation, rewards, terminated, _, info = self.env.step({"token": tokens, "logprob": logprobs})
            paid = self.paid(rewards, info["final_info"] if terminated.any() else info)
            for slot in range(n):
                episodes[slot].append((states[slot], tokens[slot], paid[slot]))
                if terminated[slot]:
                    self._reinforce(episodes[slot], self.learning_rate * (1 - step * n / total_timesteps))
                    episodes[slot] = []

    def predict(self, observation: dict[str, Array], deterministic: bool = False) -> tuple[Array, None]:
        return self._sample(self._states(observation))[0], None

    def _reinforce(self, episode: list[tuple[tuple[int, ...], int, float]], rate: float) -> None:
        total = 0.0
        for state, token, reward in reversed(episode):
            total = reward + self.gamma * total
            advantage = total - self.baselines[state]
            self.baselines[state] += 0.1 * advantage
            gradient = -softmax(self.logits[state])
            gradient[token] += 1
            self.logits[state] = self.logits[state] + rate * self.sign * advantage * gradient

    def _states(self, observation: dict[str, Array]) -> list[tuple[int, ...]]:
        length = self.env.task.max_prompt_tokens
        rows = zip(observation["input_ids"], observation["attention_mask"], strict=True)
        return [self.see(ids[mask.astype(bool)].tolist(), length) for ids, mask in rows]

    def _sample(self, states: list[tuple[int, ...]]) -> tuple[Array, Array]:
        probabilities = softmax(np.array([self.logits[state] for state in states]))
        below = probabilities.cumsum(axis=1)[:, :-1]
        tokens = (self.rng.random((len(states), 1)) > below).sum(axis=1)
        chosen = np.log(probabilities[np.arange(len(states)), tokens])
        return tokens, chosen.astype(np.float32)


def softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.fixture
def tabular() -> type[Tabular]:
    return Tabular
