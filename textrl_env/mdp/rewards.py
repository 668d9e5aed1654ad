"""Reward functions: text in, one score per completion out; checked calls, weighted sums and ready-made penalties."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError


class RewardFunction(Protocol):
    """`reward(prompts, completions, **columns) -> B floats`: the signature that TRL's reward functions have.

    Columns are the prompt rows' further columns, and `completion_ids` (lists of token ids, with the end token where
    one was chosen) and `finish_reason` (`"eos"`, `"stop"` or `"length"`). A function that names only some of these
    parameters receives only those.

    Prompts and completions are texts. Where the dataset's prompts are conversations they are what TRL passes then: each
    prompt its list of messages as given, each completion `[{"role": "assistant", "content": text}]`.
    """

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> Sequence[float]: ...


RewardCallable = Callable[..., Sequence[float] | npt.NDArray[Any]]


@dataclass(frozen=True)
class Weighted:
    """A reward function with its weight in a sum."""

    reward: RewardCallable
    weight: float = 1.0


RewardSource = RewardCallable | Mapping[str, RewardCallable | Weighted]


class RewardSum:
    """The named reward terms of an environment; a single function is one term named `score`.

    Calling it returns the terms, each (B,) float64 and weighted; their sum is the completion's score.
    """

    def __init__(self, source: RewardSource) -> None:
        named = source if isinstance(source, Mapping) else {"score": source}
        if not named:
            raise InputError("no reward function: expected one, or a mapping of names to reward functions")
        self.terms = {name: term if isinstance(term, Weighted) else Weighted(term) for name, term in named.items()}
        for name, term in self.terms.items():
            if not callable(term.reward):
                raise InputError(f"reward {name!r} must be a function of (prompts, completions), got {term.reward!r}")
        if reserved := {"kl", "reference"} & set(self.terms):
            raise InputError(f"the reward name {min(reserved)!r} is taken by KL shaping; choose another")

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], *, prompt_indices: Sequence[int], **columns: Any
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Scores of B completions by term; `prompt_indices` are used in error messages only."""
        scores = {}
        for name, term in self.terms.items():
            scores[name] = term.weight * self._checked(name, prompts, completions, prompt_indices, columns)
        return scores

    def _checked(
        self,
        name: str,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        indices: Sequence[int],
        columns: dict[str, Any],
    ) -> npt.NDArray[np.float64]:
        reward = self.terms[name].reward
        label = getattr(reward, "__name__", type(reward).__name__)
        place = f"prompt {indices[0]}, completion {completions[0]!r}"
        try:
            raw = _call(reward, prompts, completions, columns)
        except Exception as error:
            raise InputError(
                f"reward function {label} raised {type(error).__name__}: {error} "
                f"(a batch of {len(prompts)} completions; the first: {place})"
            ) from error
        try:
            values = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError, RuntimeError):  # torch refuses a tensor with gradients by RuntimeError
            raise InputError(
                f"reward function {label} must return numbers, got {raw!r:.200} (first: {place})"
            ) from None
        if values.shape != (len(prompts),):
            raise InputError(
                f"reward function {label} must return {len(prompts)} numbers, one per completion, "
                f"got shape {values.shape} (first: {place})"
            )
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"reward function {label} returned {values[bad]} for prompt {indices[bad]}, "
                f"completion {completions[bad]!r}; every score must be finite"
            )
        return values


def _call(reward: RewardCallable, prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> Any:
    """Calls by name what names its parameters as TRL's functions do, and by position what does not (a bare lambda)."""
    given = {"prompts": prompts, "completions": completions} | columns
    parameters = inspect.signature(reward).parameters.values()
    required = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name for p in parameters}
    if required <= set(given) and (takes_any or named & set(given)):
        return reward(**{name: value for name, value in given.items() if takes_any or name in named})
    return reward(prompts, completions, **{name: v for name, v in columns.items() if takes_any or name in named})


@dataclass(frozen=True)
class LengthPenalty:
    """-1 per token beyond `free` tokens; combine it with a small weight."""

    free: int

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        return [-float(max(0, len(ids) - self.free)) for ids in completion_ids]


@dataclass(frozen=True)
class MissingEOSPenalty:
    """-1 for a completion that ran into the length limit instead of ending by itself."""

    def __call__(self, finish_reason: list[str], **columns: Any) -> list[float]:
        return [-1.0 if reason == "length" else 0.0 for reason in finish_reason]


@dataclass(frozen=True)
class RepetitionPenalty:
    """Minus the share of n-grams of tokens that repeat an earlier one of the same completion, in [-1, 0]."""

    n: int = 3

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        return [-self._repeated(ids) for ids in completion_ids]

    def _repeated(self, ids: list[int]) -> float:
        grams = [tuple(ids[start : start + self.n]) for start in range(len(ids) - self.n + 1)]
        return 1 - len(set(grams)) / len(grams) if grams else 0.0
