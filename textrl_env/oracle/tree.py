"""The tree of all completions of one prompt, on which the oracle computes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_count

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_PREFIXES = 10**6
MAX_COMPLETIONS = 32 * 10**6
BLOCK = 2**16
"""Numbers in a block of rows: few enough for a processor's cache, and for a batch of texts in memory."""


@dataclass(frozen=True)
class PrefixTree:
    """The tree of all completions of one prompt, over V tokens and up to `horizon` tokens.

    The children of a level's rows, in the order of row and token, are the rows of the next level.

    Attributes:
        prefixes: per depth t, the unfinished prefixes, (n_t, t) token ids.
        ends: per depth t, (n_t, V), True where choosing the token ends the completion.
        scores: per depth t, (n_t, V), the score paid where it ends, 0 elsewhere.
    """

    prefixes: tuple[Ints, ...]
    ends: tuple[Bools, ...]
    scores: tuple[Floats, ...]


def prefix_tree(
    vocab_size: int, horizon: int, *, eos_id: int | None, score: Callable[[Ints], Sequence[float] | Floats]
) -> PrefixTree:
    """Builds the tree of all completions; at most 10^6 unfinished prefixes and 32 · 10^6 completions.

    The second limit is one of memory: every completion has a score of its own, and a policy on the tree a number for
    each token after each prefix, so that 10^6 prefixes over 1000 tokens would take 8 GB an array.

    Args:
        vocab_size: V, at least 1.
        horizon: the length limit, at least 1.
        eos_id: the token that ends a completion, or None.
        score: finite scores of n finished completions of equal length t, given as (n, t) token ids (with the end token
            where it was chosen); called for about 65,000 of them at a time.

    Raises:
        InputError: an argument out of its range, a tree too large, scores of another number or not finite.
    """
    require_count(1, vocab_size=vocab_size, horizon=horizon)
    if eos_id is not None and not 0 <= eos_id < vocab_size:
        raise InputError(f"eos_id must be one of the {vocab_size} tokens or None, got {eos_id}")
    tokens = np.arange(vocab_size)
    eos = tokens[tokens == eos_id]
    continuing = tokens[tokens != eos_id]
    counts = [len(continuing) ** depth for depth in range(horizon)]
    n_prefixes, n_completions = sum(counts), len(eos) * sum(counts) + len(continuing) ** horizon
    if n_prefixes > MAX_PREFIXES or n_completions > MAX_COMPLETIONS:
        raise InputError(
            f"{vocab_size} tokens and horizon {horizon} make {n_prefixes:,} prefixes and {n_completions:,} "
            f"completions; at most {MAX_PREFIXES:,} and {MAX_COMPLETIONS:,} can be enumerated: lower one of the two"
        )
    prefixes, ends, scores = [np.zeros((1, 0), dtype=np.int64)], [], []
    for depth in range(horizon):
        here, ending = prefixes[depth], tokens if depth == horizon - 1 else eos
        end, values = np.zeros((len(here), vocab_size), dtype=np.bool_), np.zeros((len(here), vocab_size))
        end[:, ending] = True
        if len(ending):
            for rows in row_blocks(len(here), len(ending)):
                values[rows, ending] = _score_completions(_extend(here[rows], ending), score).reshape(-1, len(ending))
        ends.append(end)
        scores.append(values)
        prefixes.append(_extend(here, continuing))
    return PrefixTree(tuple(prefixes[:-1]), tuple(ends), tuple(scores))


def row_blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Yields consecutive slices of rows that hold about 65,000 numbers each."""
    step = max(1, BLOCK // width)
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def _extend(prefixes: Ints, tokens: Ints) -> Ints:
    """Appends every token to every prefix: (n, t), (k,) -> (n k, t + 1)."""
    return np.column_stack([prefixes.repeat(len(tokens), axis=0), np.tile(tokens, len(prefixes))])


def _score_completions(completions: Ints, score: Callable[[Ints], Sequence[float] | Floats]) -> Floats:
    scores = np.asarray(score(completions), dtype=np.float64)
    if scores.shape != (len(completions),):
        raise InputError(f"score must return {len(completions)} numbers, one a completion, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        first = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise InputError(f"score returned {scores[first]} for {completions[first].tolist()}; it must be finite")
    return scores
