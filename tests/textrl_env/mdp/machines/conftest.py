"""Random tasks for the state machines, with a tokenizer, a reference and reward functions in plain Python."""

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st

from textrl_env import AdaptiveKL, FixedKL, KLShaping, Weighted

# No example comes from an earlier run and none depends on the clock: CI sees what a developer sees.
STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class ByteTokenizer:
    """Tokens are pieces of UTF-8, so that characters and stop strings span tokens; None stands for special tokens."""

    pieces = (None, b"a", b"b", b"ab", b"ba", b"\xc3", b"\xa9a", None, b"\xf0\x9f", b"\x98\x80")

    def __init__(self, size: int, eos: int | None, pad: int | None) -> None:
        self.size, self.eos_token_id, self.pad_token_id = size, eos, pad

    def __len__(self) -> int:
        return self.size

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [1 + "ab".index(character) for character in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        special = b"" if skip_special_tokens else b"<>"
        pieces = [self.pieces[token] for token in token_ids]
        return b"".join(special if piece is None else piece for piece in pieces).decode(errors="replace")


class PlainReference:
    """A reference whose next-token distribution depends on every token before, and on their order."""

    def __init__(self, size: int) -> None:
        self.size = size

    fault: bool = False

    def after(self, ids: Sequence[int]) -> list[float]:
        """log π_ref(·|ids); NaN where there is a fault."""
        if self.fault:
            return [math.nan] * self.size
        state = sum((place + 2) * (token + 1) for place, token in enumerate(ids))
        logits = [2 * math.sin(state * (token + 1.3)) for token in range(self.size)]
        normalizer = math.log(sum(map(math.exp, logits)))
        return [logit - normalizer for logit in logits]

    def decoder(self) -> "PlainReference":
        return self

    def next_logprobs(self, input_ids: Any, attention_mask: Any, live: Any) -> Any:
        rows = np.full((len(live), self.size), np.nan, dtype=np.float32)
        for row in np.flatnonzero(live):
            rows[row] = self.after(input_ids[row, attention_mask[row] == 1].tolist())
        return rows

    def completion_logprobs(self, input_ids: Any, attention_mask: Any, n_tokens: int) -> Any:
        out = np.full((len(input_ids), n_tokens), np.nan, dtype=np.float32)
        for row, (padded, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            ids = padded[mask == 1].tolist()
            for back in range(1, min(n_tokens, len(ids) - 1) + 1):
                out[row, -back] = self.after(ids[:-back])[ids[-back]]
        return out


class Price:
    """A reward function of everything it is told; `fault` says how it fails instead."""

    fault: str | None = None

    def of(self, prompt: str, completion: str, ids: Sequence[int], reason: str, bonus: float | None) -> float:
        return zlib.crc32(repr((prompt, completion, list(ids), reason, bonus)).encode()) % 1000 / 100

    def __call__(
        self, prompts: Any, completions: Any, completion_ids: Any, finish_reason: Any, bonus: Sequence[float | None]
    ) -> Any:
        match self.fault:
            case "interrupt":
                raise KeyboardInterrupt("Price")
            case "raises":
                raise KeyError("fault")
            case "count":
                return [1.0] * (len(prompts) + 1)
            case "words":
                return ["good"] * len(prompts)
            case "nan":
                return [math.nan] * len(prompts)
        rows = zip(prompts, completions, completion_ids, finish_reason, bonus, strict=True)
        return [self.of(*row) for row in rows]


def count_tokens(completion_ids: list[list[int]]) -> list[float]:
    return [float(len(ids)) for ids in completion_ids]


PROMPTS = [{"prompt": "a", "bonus": 1.0}, {"prompt": "ba"}, {"prompt": "abb", "bonus": -2.0}]


@st.composite
def random_arguments(draw: Callable[[Any], Any], *, adaptive: bool) -> dict[str, Any]:
    """Arguments of an environment with some token to choose; `adaptive`: its KL coefficient may move."""
    size, most = draw(st.sampled_from([3, 5, 7, 10])), draw(st.integers(1, 5))
    token = st.integers(0, size - 1)
    some = st.lists(token, unique=True, max_size=2)
    eos, pad = draw(st.sampled_from([(0, 0), (0, None), (None, 0), (0, 1)]))
    arguments = {
        "prompts": PROMPTS,
        "reward": {"price": Price(), "length": Weighted(count_tokens, -0.5)},
        "tokenizer": ByteTokenizer(size, eos, pad),
        "max_new_tokens": most,
        "max_prompt_tokens": draw(st.sampled_from([None, 4])),
        "prompt_order": draw(st.sampled_from(["uniform", "epoch"])),
        "min_new_tokens": draw(st.just(0) | st.integers(0, most)),
        "banned_tokens": draw(some),
        "action_tokens": draw(st.none() | st.lists(token, unique=True, min_size=2)),
        "eos_token_ids": draw(st.none() | some),
        "stop_strings": draw(st.lists(st.sampled_from(["aa", "ba", "ab", "b", "é", "😀"]), unique=True, max_size=3)),
        "length_limit": draw(st.sampled_from(["scored", "cut"])),
        "include_text": draw(st.booleans()),
    }
    if mode := draw(st.sampled_from([None, "reference", "sampled", "exact"])):
        controllers = [FixedKL(), AdaptiveKL(1.0, horizon=5)] if adaptive and mode != "reference" else [FixedKL()]
        pay = "step" if mode == "exact" else draw(st.sampled_from(["step", "episode"]))
        estimator, controller = draw(st.sampled_from(["k1", "k2", "k3"])), draw(st.sampled_from(controllers))
        arguments["kl"] = KLShaping(0.3, mode, estimator=estimator, controller=controller, pay=pay)
        arguments["reference"] = PlainReference(size)
    return arguments


@pytest.fixture
def tasks() -> Any:
    """Strategies of arguments, by whether the KL coefficient may move."""
    return random_arguments


@pytest.fixture
def steady() -> settings:
    """Settings under which every run sees the same examples."""
    return STEADY
