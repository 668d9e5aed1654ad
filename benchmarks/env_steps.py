"""What the environment itself costs: time per step beside Gymnasium's own machinery and a model's forward.

Every row is measured in turn, round by round, so that a busy machine slows all of them alike; compare rows of one run,
never of two. Prints a table and writes JSON. Takes about a minute on one CPU core.

    python benchmarks/env_steps.py --out runs/benchmarks/env_steps.json
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from rich.console import Console
from rich.table import Table

from textrl_env import KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import small_llama, train_tokenizer
from textrl_env.lm.forward import CachedDecoder
from textrl_env.reference import FrozenReference
from textrl_env.worlds import support_desk

TOKENS = 32
SPACE = gymnasium.spaces.Dict(
    input_ids=gymnasium.spaces.Box(0, 511, (64,), np.int64), attention_mask=gymnasium.spaces.Box(0, 1, (64,), np.int8)
)


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    out: Path = Path("runs/benchmarks/env_steps.json")
    """The measurements."""
    num_envs: int = 64
    """Slots of the vector environments."""
    rounds: int = 9
    """How often each row is measured; the median is reported."""
    steps: int = 10 * TOKENS
    """Steps of the single environment in a round, and of the vector environments together with their slots / 8."""


class NoOpEnv(gymnasium.Env[Any, Any]):
    """The least that an environment of this observation space can do."""

    observation_space = SPACE
    action_space = gymnasium.spaces.Discrete(512)

    def __init__(self) -> None:
        self.observation = {name: np.zeros(space.shape, space.dtype) for name, space in SPACE.items()}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation, 0.0, False, False, {}


class NoOpVectorEnv(VectorEnv[Any, Any, Any]):
    """The least that a native vector environment can do: copied observations, no Python per slot."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.observation_space = batch_space(SPACE, num_envs)
        self.action_space = batch_space(NoOpEnv.action_space, num_envs)
        self.observation = {name: np.zeros(space.shape, space.dtype) for name, space in self.observation_space.items()}

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        ended = np.zeros(self.num_envs, dtype=np.bool_)
        copied = {name: values.copy() for name, values in self.observation.items()}
        return copied, np.zeros(self.num_envs), ended, ended.copy(), {}


def constant(prompts: list[str], completions: list[str]) -> list[float]:
    return [1.0] * len(prompts)


def steps_of_single(env: Any, steps: int) -> Callable[[], int]:
    env.reset(seed=0)

    def run() -> int:
        for _ in range(steps):
            _, _, terminated, truncated, _ = env.step(5)
            if terminated or truncated:
                env.reset()
        return steps

    return run


def steps_of_vector(env: Any, actions: Any, steps: int) -> Callable[[], int]:
    env.reset(seed=0)

    def run() -> int:
        for _ in range(steps):
            env.step(actions)
        return steps * env.num_envs

    return run


def cached_forwards(model: Any, prompts: list[list[int]], steps: int) -> Callable[[], int]:
    """The reference's own work: a cached forward a token, starting anew after every completion."""
    longest = max(map(len, prompts))

    def run() -> int:
        for step in range(steps):
            if step % TOKENS == 0:
                decoder = CachedDecoder(model)
                ids = np.zeros((len(prompts), longest + TOKENS), dtype=np.int64)
                mask = np.zeros(ids.shape, dtype=np.int8)
                for row, prompt in enumerate(prompts):
                    ids[row, -len(prompt) :], mask[row, -len(prompt) :] = prompt, 1
            with torch.inference_mode():
                torch.log_softmax(decoder.next_logits(ids, mask, np.ones(len(prompts), dtype=np.bool_)), dim=-1)
            ids = np.concatenate([ids[:, 1:], np.full((len(prompts), 1), 5)], axis=1)
            mask = np.concatenate([mask[:, 1:], np.ones((len(prompts), 1), np.int8)], axis=1)
        return steps * len(prompts)

    return run


def main(args: Args) -> dict[str, float]:
    """Measures; returns µs per step (single) or per slot-step (vector) by row, and the ratios that matter."""
    torch.set_num_threads(1)
    rows = support_desk.demonstrations(500, seed=0)
    tokenizer = train_tokenizer((row["prompt"] + row["completion"] for row in rows), vocab_size=512)
    prompts = [row["prompt"] for row in rows[: args.num_envs]]
    n, options = args.num_envs, {"max_new_tokens": TOKENS}
    model = small_llama(tokenizer, hidden_size=128, layers=4)
    reference = FrozenReference(model, vocab_size=len(tokenizer))
    few = max(TOKENS, args.steps // 8)
    make = lambda: TextGenEnv(prompts, constant, tokenizer, **options)  # noqa: E731
    vector = TextGenVectorEnv(prompts, constant, tokenizer, num_envs=n, autoreset_mode="SameStep", **options)
    referred = TextGenVectorEnv(
        prompts,
        constant,
        tokenizer,
        num_envs=n,
        autoreset_mode="SameStep",
        kl=KLShaping(0.1),
        reference=reference,
        **options,
    )
    actions = np.full(n, 5)
    prompt_ids = [tokenizer.encode(prompt) for prompt in prompts]
    runs = {
        "TextGenEnv": steps_of_single(make(), args.steps),
        "no-op env": steps_of_single(NoOpEnv(), args.steps),
        "TextGenVectorEnv": steps_of_vector(vector, actions, few),
        "SyncVectorEnv of TextGenEnv": steps_of_vector(SyncVectorEnv([make] * n), actions, TOKENS),
        "SyncVectorEnv of no-op envs": steps_of_vector(SyncVectorEnv([NoOpEnv] * n), actions, few),
        "no-op vector env": steps_of_vector(NoOpVectorEnv(n), actions, few),
        "TextGenVectorEnv with a reference model": steps_of_vector(referred, actions, 2 * TOKENS),
        "that model's cached forward alone": cached_forwards(model, prompt_ids, 2 * TOKENS),
    }
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            count = run()
            samples[name].append((time.perf_counter() - start) / count * 1e6)
    micros = {name: median(values) for name, values in samples.items()}
    ratio = micros["TextGenVectorEnv with a reference model"] / micros["that model's cached forward alone"]
    result = {**micros, "ratio of the reference step to the bare forward": ratio}
    table = Table("", "µs per (slot-)step")
    for name, value in micros.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)
    print(f"a step with a reference model takes {ratio:.2f} times its cached forward")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({**result, "num_envs": n, "rounds": args.rounds}, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
