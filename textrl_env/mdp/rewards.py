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

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> Sequence[float]:
        """Returns B scores, finite numbers, one a completion."""
        ...


RewardCallable = Callable[..., Sequence[float] | npt.NDArray[Any]]


@dataclass(frozen=True)
class Weighted:
    """A reward function with its weight in a sum."""

    reward: RewardCallable
    weight: float = 1.0


RewardSource = RewardCallable | Mapping[str, RewardCallable | Weighted]


@dataclass(frozen=True)
class _CompletionBatch:
    """B completions as reward functions receive them, and the rows of their prompts for error messages."""

    prompts: Sequence[Any]
    completions: Sequence[Any]
    columns: Mapping[str, Any]
    prompt_indices: Sequence[int]


class RewardSum:
    """The named reward terms of an environment; a single function is one term named `score`.

    Attributes:
        terms: by name, each function with its weight.

    Raises:
        InputError: no function, one that cannot be called, or a name that KL shaping uses.
    """

    def __init__(self, source: RewardSource) -> None:
        terms = source if isinstance(source, Mapping) else {"score": source}
        if not terms:
            raise InputError("no reward function: expected one, or a mapping of names to reward functions")
        self.terms = {name: term if isinstance(term, Weighted) else Weighted(term) for name, term in terms.items()}
        for name, term in self.terms.items():
            if not callable(term.reward):
                raise InputError(f"reward {name!r} must be a function of (prompts, completions), got {term.reward!r}")
        if reserved_names := {"kl", "reference"} & set(self.terms):
            raise InputError(f"the reward name {min(reserved_names)!r} is taken by KL shaping; choose another")

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], *, prompt_indices: Sequence[int], **columns: Any
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the terms of B completions, (B,) each and weighted; their sum is a completion's score.

        Args:
            prompts: B texts or conversations.
            completions: B texts, or lists with the assistant's message.
            prompt_indices: B rows of the dataset; used in error messages only.
            columns: further arguments of the functions, B entries each.

        Raises:
            InputError: a function fails, or does not return B finite numbers.
        """
        batch = _CompletionBatch(prompts, completions, columns, prompt_indices)
        return {name: term.weight * _scores(term.reward, batch) for name, term in self.terms.items()}


def _scores(reward: RewardCallable, batch: _CompletionBatch) -> npt.NDArray[np.float64]:
    """(B,) what a function returns, checked."""
    label, n = getattr(reward, "__name__", type(reward).__name__), len(batch.prompts)
    place = f"prompt {batch.prompt_indices[0]}, completion {batch.completions[0]!r}"
    try:
        raw = _call(reward, batch)
    except Exception as error:
        raise InputError(
            f"reward function {label} raised {type(error).__name__}: {error} "
            f"(a batch of {n} completions; the first: {place})"
        ) from error
    try:
        values = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # torch refuses a tensor with gradients by RuntimeError
        raise InputError(f"reward function {label} must return numbers, got {raw!r:.200} (first: {place})") from None
    if values.shape != (n,):
        raise InputError(
            f"reward function {label} must return {n} numbers, one per completion, "
            f"got shape {values.shape} (first: {place})"
        )
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"reward function {label} returned {values[bad]} for prompt {batch.prompt_indices[bad]}, "
            f"completion {batch.completions[bad]!r}; every score must be finite"
        )
    return values


def _call(reward: RewardCallable, batch: _CompletionBatch) -> Any:
    """Calls by name what names its parameters as TRL's functions do, and by position what does not (a bare lambda)."""
    arguments = {"prompts": batch.prompts, "completions": batch.completions, **batch.columns}
    parameters = inspect.signature(reward).parameters.values()
    names = {p.name for p in parameters}
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    mandatory = {p.name for p in parameters if p.default is p.empty and p.kind not in variadic}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if mandatory <= set(arguments) and (takes_any or names & set(arguments)):
        return reward(**{name: value for name, value in arguments.items() if takes_any or name in names})
    columns = {name: value for name, value in batch.columns.items() if takes_any or name in names}
    return reward(batch.prompts, batch.completions, **columns)


@dataclass(frozen=True)
class LengthPenalty:
    """-1 per token beyond `free` tokens; combine it with a small weight."""

    free: int

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        """Returns B penalties of 0 or less."""
        return [-float(max(0, len(ids) - self.free)) for ids in completion_ids]


@dataclass(frozen=True)
class MissingEOSPenalty:
    """-1 for a completion that ran into the length limit instead of ending by itself."""

    def __call__(self, finish_reason: list[str], **columns: Any) -> list[float]:
        """Returns B penalties, -1 or 0."""
        return [-1.0 if reason == "length" else 0.0 for reason in finish_reason]


@dataclass(frozen=True)
class RepetitionPenalty:
    """Minus the share of n-grams of tokens that repeat an earlier one of the same completion, in [-1, 0]."""

    n: int = 3

    def __call__(self, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        """Returns B penalties in [-1, 0]."""
        return [-self._repeated_share(ids) for ids in completion_ids]

    def _repeated_share(self, ids: list[int]) -> float:
        grams = [tuple(ids[start : start + self.n]) for start in range(len(ids) - self.n + 1)]
        return 1 - len(set(grams)) / len(grams) if grams else 0.0
