"""Reward functions: text in, one score per completion out; named terms with weights, summed by the environment."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.mdp.binding import ALL_ARGUMENTS, RESERVED_NAMES, BoundReward, RewardCallable
from textrl_env.mdp.scores import LARGEST_SCORE, ScoredCompletions, read_scores, real_number


class RewardFunction(Protocol):
    """`reward(prompts, completions, **columns) -> B scores`: the signature that TRL's reward functions have.

    Arguments are bound by name when the environment is made. A function receives those that it names, and with
    `**columns` all others, too, except those marked *; each call has its own copies, so that nothing it does to them
    has an effect.

    | name | B entries |
    |---|---|
    | `prompts`, `completions` | texts; a completion's shows special tokens (`<think>`), but not a final end token |
    | `rendered_prompts` | the prompts as the model reads them: texts, conversations by the chat template |
    | `raw_completions` * | texts with the end token, and with the stop string where one ended them |
    | `prompt_ids`, `completion_ids` | lists of token ids, with the end token where one was chosen |
    | `finish_reason` | `"eos"`, `"stop"` or `"length"` |
    | a column's name | the prompt rows' values; None where a row has none |
    | `tokenizer` * | no list: the environment's tokenizer itself |

    Where the dataset's prompts are conversations, prompts and completions are what TRL passes then: each prompt its
    list of messages, each completion `[{"role": "assistant", "content": text}]`. Coroutine functions are awaited.
    """

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> Sequence[float | None]:
        """Returns B scores, one a completion.

        They are finite real numbers of any type, at most 1e15 in magnitude, in a list, an array, a tensor or a series.
        None says that the function does not apply to a completion: its term is 0 there, and another must apply.
        """
        ...


@dataclass(frozen=True)
class Weighted:
    """A reward function with its weight in a sum.

    Raises:
        InputError: a weight that is not a finite number.
    """

    reward: RewardCallable
    weight: float = 1.0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "weight", real_number(self.weight))
        except ValueError as fault:
            raise InputError(f"a reward's weight is {self.weight!r:.80}; {fault}") from None


RewardSource = RewardCallable | Weighted | Mapping[str, RewardCallable | Weighted]


class RewardSum:
    """The named reward terms of an environment; a single function is one term named `score`.

    Args:
        source: a reward function, or a mapping of names to (weighted) reward functions.
        columns: names of the dataset's columns, which the functions' parameters may have.
        offers: names of the other arguments that every call has.

    Attributes:
        terms: by name, each function with its weight.

    Raises:
        InputError: no function, one that cannot be called or bound to its arguments, a name that KL shaping uses, or
            a column with the name of another argument.
    """

    def __init__(
        self, source: RewardSource, *, columns: Collection[str] = (), offers: Collection[str] = ALL_ARGUMENTS
    ) -> None:
        terms = source if isinstance(source, Mapping) else {"score": source}
        if not terms:
            raise InputError("no reward function: expected one, or a mapping of names to reward functions")
        self.terms = {name: term if isinstance(term, Weighted) else Weighted(term) for name, term in terms.items()}
        for name, term in self.terms.items():
            _check_term(name, term)
        for column in columns:
            if column in RESERVED_NAMES:
                raise InputError(
                    f"the prompts have a column {column!r}, a name that another argument of reward functions has; "
                    "rename the column"
                )
            if not isinstance(column, str):
                raise InputError(f"the prompts have a column {column!r}; names of columns must be texts, rename it")
        self._functions = {name: BoundReward(term.reward, columns, offers) for name, term in self.terms.items()}
        self.argument_names = frozenset[str]().union(*(function.names for function in self._functions.values()))

    def __call__(
        self, arguments: Mapping[str, Any], *, prompt_indices: Sequence[int]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the terms of B completions, (B,) each and weighted; their sum is a completion's score.

        Args:
            arguments: of the functions, by name, B entries each: those in `argument_names`, prompts and completions.
            prompt_indices: B rows of the dataset; used in error messages only.

        Raises:
            InputError: a function fails or does not return B scores, or none applies to a completion.
        """
        completions = ScoredCompletions(prompt_indices, arguments["completions"])
        scores = {name: _call(function, arguments, completions) for name, function in self._functions.items()}
        self._check_that_one_applies(scores, completions)
        terms = {name: self.terms[name].weight * np.nan_to_num(values, nan=0.0) for name, values in scores.items()}
        for name, values in terms.items():
            if (large := np.flatnonzero(np.abs(values) > LARGEST_SCORE)).size:
                raise InputError(
                    f"the reward {name!r} is {values[large[0]]:g} with its weight for {completions.place(large[0])}; "
                    f"at most {LARGEST_SCORE:g} in magnitude can be summed in float32"
                )
        return terms

    def check_lengths(self, tokenizer: Any, max_tokens: int) -> None:
        """Asks each function that has a method `check_lengths(tokenizer, max_tokens)`, as a `ModelReward` does.

        Args:
            tokenizer: of the environment.
            max_tokens: the most tokens of a prompt and its completion.

        Raises:
            InputError: such texts do not fit the context of a function's model.
        """
        for term in self.terms.values():
            if callable(check := getattr(term.reward, "check_lengths", None)):
                check(tokenizer, max_tokens)

    @property
    def n_truncated(self) -> int:
        """Completions that the functions' models have read less than all of, so far."""
        return sum(getattr(term.reward, "n_truncated", 0) for term in self.terms.values())

    @classmethod
    def score_texts(cls, source: RewardSource, prompts: Sequence[Any], completions: Sequence[Any]) -> list[float]:
        """Scores B texts by reward functions that need nothing else; returns B sums of their terms.

        Raises:
            InputError: a function needs more than prompts and completions, fails, or does not return B scores.
        """
        rewards = cls(source, offers=("prompts", "completions"))
        arguments = {"prompts": list(prompts), "completions": list(completions)}
        terms = rewards(arguments, prompt_indices=range(len(prompts)))
        scores: list[float] = np.sum(list(terms.values()), axis=0).tolist()
        return scores

    def _check_that_one_applies(
        self, scores: Mapping[str, npt.NDArray[np.float64]], completions: ScoredCompletions
    ) -> None:
        nowhere = np.flatnonzero(np.all([np.isnan(values) for values in scores.values()], axis=0))
        if nowhere.size:
            labels = ", ".join(function.label for function in self._functions.values())
            raise InputError(
                f"no score for {completions.place(nowhere[0])}: {labels} returned None, which says that a function "
                "does not apply to a completion; one of them must return a number"
            )


def _check_term(name: Any, term: Weighted) -> None:
    if not isinstance(name, str) or not name:
        raise InputError(f"rewards must have names, texts that are not empty, got {name!r}")
    if name in ("kl", "reference"):
        raise InputError(f"the reward name {name!r} is taken by KL shaping; choose another")
    if not callable(term.reward):
        raise InputError(
            f"reward {name!r} must be a function of prompts and completions, got {term.reward!r:.200}; a reward model "
            "goes into ModelReward(…), several functions into a mapping of names"
        )


def _call(
    function: BoundReward, arguments: Mapping[str, Any], completions: ScoredCompletions
) -> npt.NDArray[np.float64]:
    """(B,) a function's scores, NaN where it does not apply."""
    try:
        scores = function(arguments, len(completions))
    except Exception as error:
        first = f"; the first: {completions.place(0)}" if len(completions) else ""
        raise InputError(
            f"reward function {function.label} raised {type(error).__name__}: {error} "
            f"(a batch of {len(completions)} completions{first})"
        ) from error
    return read_scores(function.label, scores, completions)
