"""Ten thousand episodes leave nothing behind, and a step's memory does not grow with the vocabulary."""

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

V, EPISODES = 8, 10_000
PROMPTS = ["abc", "de", "f"]


def count_a(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(text.count("a")) for text in completions]


def arguments(**options: Any) -> dict[str, Any]:
    common = {"prompts": PROMPTS, "reward": count_a, "tokenizer": LetterTokenizer(V), "max_new_tokens": 2}
    return common | {"stop_strings": ["bc"], "prompt_order": "epoch", "include_text": True} | options


def play_single() -> Callable[[int], None]:
    env = TextGenEnv(**arguments(), render_mode="ansi")
    env.reset(seed=0)

    def play(episodes: int) -> None:
        for episode in range(episodes):
            env.reset(options={"prompt": "gg"} if episode % 10 == 0 else None)
            env.step(2)
            env.step(episode % V)

    return play


def play_vector(**options: Any) -> Callable[[int], None]:
    env = TextGenVectorEnv(**arguments(**options), num_envs=50, autoreset_mode="SameStep")
    env.reset(seed=0)

    def play(episodes: int) -> None:
        while episodes > 0:
            tokens = (np.arange(50) + episodes) % V
            sampled = env.task.kl is not None and env.task.kl.mode == "sampled"
            _, _, terminated, _, _ = env.step({"token": tokens, "logprob": np.full(50, -2.0)} if sampled else tokens)
            episodes -= int(terminated.sum())

    return play


@pytest.fixture(params=["single", "vector", "vector, reference", "vector, sampled by episode"])
def play(request: pytest.FixtureRequest, make_model: Any) -> Callable[[int], None]:
    """Plays a number of episodes in an environment of its own."""
    name, _, shaping = request.param.partition(", ")
    if name == "single":
        return play_single()
    if not shaping:
        return play_vector()
    mode, _, pay = shaping.partition(" by ")
    reference = FrozenReference(make_model("gpt2"), vocab_size=V)
    return play_vector(kl=KLShaping(0.1, mode, pay=pay or "step"), reference=reference)  # type: ignore[arg-type]


def held() -> np.ndarray:
    """Python objects, bytes of containers, elements in torch's tensors, open file handles."""
    gc.collect()
    objects = gc.get_objects()
    tensors = sum(value.numel() for value in objects if type(value) is torch.Tensor)
    return np.array(
        [sys.getallocatedblocks(), sum(map(sys.getsizeof, objects)), tensors, len(os.listdir("/dev/fd"))], dtype=int
    )


def test_ten_thousand_episodes_leave_memory_and_file_handles_flat(play: Callable[[int], None]) -> None:
    play(500)
    before = held()
    play(EPISODES)
    blocks, containers, tensors, handles = held() - before
    # An object kept every ten episodes would be 1000 blocks; a list with an entry an episode, 80 kB.
    assert blocks < 1000 and containers < 40_000
    assert tensors <= 1000 and handles == 0


class ManyTokens:
    """A vocabulary of the size that large models have."""

    pad_token_id = eos_token_id = 0

    def __len__(self) -> int:
        return 200_000

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, token_ids))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"min_new_tokens": 2, "banned_tokens": [5], "eos_token_ids": [3, 4]}], ids=["free", "masked"]
)
def test_a_step_allocates_nothing_of_the_size_of_the_vocabulary(options: dict[str, Any], masks: bool) -> None:
    env = TextGenEnv(["ab"], count_a, ManyTokens(), max_new_tokens=4, **options)
    vector = TextGenVectorEnv(["ab"], count_a, ManyTokens(), max_new_tokens=4, num_envs=2, **options)
    env.reset(seed=0)
    vector.reset(seed=0)
    tracemalloc.start()
    for token in (199_999, 7, 8, 3):
        env.step(token)
        vector.step(np.array([token, 9]))
        if masks:
            env.action_masks()
    env.reset()
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Asked for masks, it does allocate them: the measurement sees an array of one byte a token.
    assert (allocated >= 200_000) == masks
