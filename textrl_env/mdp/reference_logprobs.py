"""The reference of KL shaping: its protocol, and its log-probabilities, checked and among the allowed tokens."""

import inspect
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

Allowed = tuple[Bools, Ints] | None
Place = Callable[[int], str]

ROUNDING = 1e-3
"""Nats by which a log-probability may be above 0."""


class ReferenceDecoder(Protocol):
    """Scores next tokens for one environment, whose rows grow by a token at a time, so that it may keep a cache."""

    def next_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], live: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Returns log π_ref(·|s) of left-padded rows: (N, L), (N, L), (N,) -> (N, V); junk where `live` is False.

        At least one row is live. Tokens that the environment forbids have their probability here: the environment
        itself leaves them out, and makes the others' sum to 1.
        """


class Reference(Protocol):
    """The frozen policy that KL shaping compares with; `textrl_env.reference.FrozenReference` is one.

    It may have `context_length`, the most tokens that it reads; environments then refuse longer texts.
    """

    def decoder(self) -> ReferenceDecoder:
        """Returns a new decoder, for one environment."""

    def completion_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], n_tokens: int
    ) -> npt.NDArray[np.float32]:
        """Returns log π_ref of the last `n_tokens` tokens of each left-padded row, given all tokens before them.

        (N, L), (N, L) -> (N, n_tokens); entries that fall on padding are junk.

        Where this method has a parameter `allowed`, environments that forbid tokens pass (masks, index): masks (M, V)
        of the tokens that may be chosen, and which of these held for each token, (N, n_tokens). The log-probability is
        then among the allowed tokens only, log π_ref(a) - log Σ π_ref(allowed). Without that parameter such an
        environment asks the decoder for every token instead, which takes longer.
        """


def renormalize(logprobs: Floats, allowed: Bools) -> Floats:
    """Computes log-probabilities among the allowed tokens: (..., V), (..., V) -> (..., V), -inf for the others.

    NaN where none of the allowed has any probability: there is no such distribution.
    """
    among = np.where(allowed, logprobs, -np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        most = among.max(axis=-1, keepdims=True)
        among = among - most
        renormalized: Floats = among - np.log(np.exp(among).sum(axis=-1, keepdims=True))
        return renormalized


def as_logprobs(reference: Reference, values: object, *, shape: tuple[int, ...]) -> Floats:
    """Returns what a reference gave as float64; InputError, with the reference's name, for another shape or type."""
    name = type(reference).__name__
    try:
        logprobs = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):  # torch refuses a tensor with gradients by RuntimeError
        raise InputError(f"the reference {name} must return numbers, got {values!r:.200}") from None
    if logprobs.shape != shape:
        raise InputError(f"the reference {name} must return an array of shape {shape}, got {logprobs.shape}")
    return logprobs


def check_logprobs(reference: Reference, logprobs: Floats, tokens: Ints, *, place: Place) -> None:
    """Raises InputError unless every log-probability is a finite number of at most 0.

    Args:
        reference: gave them.
        logprobs: n of them.
        tokens: (n,) the tokens they are of.
        place: says where one of the n stands.
    """
    faults = np.flatnonzero(~(np.isfinite(logprobs) & (logprobs <= ROUNDING)))
    if not faults.size:
        return
    first = int(faults[0])
    reason = {-np.inf: "no probability, which is an infinite KL"}.get(logprobs[first], "no log-probability")
    raise InputError(
        f"the reference {type(reference).__name__} gives token {tokens[first]} the log-probability {logprobs[first]} "
        f"in {place(first)}: {reason}; expected a finite number of at most 0. Look at its weights and its tokens"
    )


def score_completions(
    reference: Reference, ids: Ints, mask: npt.NDArray[np.int8], *, counts: Ints, allowed: Allowed, place: Place
) -> list[Floats]:
    """Computes log π_ref of every token of completions in one pass; checked.

    Args:
        reference: scores them.
        ids: (N, L), left-padded prompts with their completions.
        mask: (N, L), 1 on the tokens.
        counts: (N,) the tokens of each completion, the last ones of its row.
        allowed: of `completion_logprobs`, or None where every token may be chosen.
        place: says where one of the N rows is from.

    Returns:
        N arrays, one number a token.
    """
    longest = int(counts.max())
    if allowed is None:
        values = reference.completion_logprobs(ids, mask, longest)
    elif _takes_allowed(reference):
        values = reference.completion_logprobs(ids, mask, longest, allowed=allowed)  # type: ignore[call-arg]
    else:
        values = _score_by_token(reference, ids, mask, counts=counts, allowed=allowed)
    logprobs = as_logprobs(reference, values, shape=(len(ids), longest))
    rows, columns = np.nonzero(np.arange(longest) >= longest - counts[:, None])
    tokens = ids[:, ids.shape[1] - longest :][rows, columns]
    check_logprobs(reference, logprobs[rows, columns], tokens, place=lambda n: place(rows[n]))
    return [row[longest - count :] for row, count in zip(logprobs, counts.tolist(), strict=True)]


def _takes_allowed(reference: Reference) -> bool:
    """Says whether `completion_logprobs` of a reference has the parameter `allowed`."""
    parameters = inspect.signature(reference.completion_logprobs).parameters.values()
    return any(parameter.name == "allowed" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _score_by_token(
    reference: Reference, ids: Ints, mask: npt.NDArray[np.int8], *, counts: Ints, allowed: tuple[Bools, Ints]
) -> Floats:
    """(N, n_tokens): log-probabilities among the allowed tokens from the reference's decoder, a token at a time."""
    masks, index = allowed
    decoder, n_tokens = reference.decoder(), index.shape[1]
    out = np.zeros(index.shape)
    for column in range(n_tokens):
        left = n_tokens - column  # Tokens that the rows do not have yet; padding takes their places.
        padding = ((0, 0), (left, 0))
        values = decoder.next_logprobs(
            np.pad(ids[:, :-left], padding), np.pad(mask[:, :-left], padding), counts >= left
        )
        logprobs = as_logprobs(reference, values, shape=(len(ids), masks.shape[1]))
        among = renormalize(logprobs, masks[index[:, column]])
        out[:, column] = among[np.arange(len(ids)), ids[:, -left]]
    return out
