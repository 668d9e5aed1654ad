"""Held-out rows: a seeded split by prompt, so that no prompt is on both sides."""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_seed, require_within

Ints = npt.NDArray[np.int64]


def first_rows(prompts: Sequence[Any]) -> Ints:
    """Returns, per row, the first row with the same prompt: N texts or conversations -> (N,)."""
    first: dict[str, int] = {}
    keys = (json.dumps(prompt, sort_keys=True, default=repr) for prompt in prompts)
    return np.array([first.setdefault(key, row) for row, key in enumerate(keys)], dtype=np.int64)


def split_by_prompt(prompts: Sequence[Any], heldout_fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Deals out distinct prompts; returns the rows to train on and those held out, each in rising order.

    Args:
        prompts: of N rows: texts, conversations, or anything that JSON can hold.
        heldout_fraction: of the distinct prompts, in (0, 1); each side gets at least one.
        seed: of the choice.

    Raises:
        InputError: another fraction, or fewer than two distinct prompts.
    """
    require_within("(0, 1)", heldout_fraction=heldout_fraction)
    first = first_rows(prompts)
    distinct = np.unique(first)
    if len(distinct) < 2:
        raise InputError("a split needs two distinct prompts or more; all rows have the same")
    n_heldout = min(max(round(heldout_fraction * len(distinct)), 1), len(distinct) - 1)
    chosen = np.random.default_rng(require_seed(seed)).choice(distinct, n_heldout, replace=False)
    heldout = np.isin(first, chosen)
    return np.flatnonzero(~heldout).tolist(), np.flatnonzero(heldout).tolist()


def split_rows(
    prompts: Sequence[Any], texts: Sequence[Sequence[str]], heldout_fraction: float, *, source: str
) -> tuple[list[int], list[int]]:
    """Splits rows of a file as `split_by_prompt` does, whatever their prompts; always the same rows of the same file.

    Of a row without a prompt, the lines that its texts begin with are the prompt, or else all of them. Rows that all
    have one prompt are dealt out one by one, with a warning.

    Args:
        prompts: of N rows, "" where a row has none.
        texts: completions of each row.
        heldout_fraction: in (0, 1).
        source: the file, for messages.

    Raises:
        InputError: fewer than two rows.
    """
    if len(prompts) < 2:
        raise InputError(f"{source}: two rows or more are needed to hold some out, found {len(prompts)}")
    keys: list[Any] = [
        prompt or _common_beginning(row) or list(row) for prompt, row in zip(prompts, texts, strict=True)
    ]
    if len(np.unique(first_rows(keys))) < 2:
        warnings.warn(
            f"{source}: all rows have one prompt, so the held-out rows have it too; what is measured on them says "
            "nothing about other prompts",
            stacklevel=2,
        )
        keys = list(range(len(prompts)))
    return split_by_prompt(keys, heldout_fraction, seed=0)


def warn_of_shared_prompts(train: Sequence[Any], heldout: Sequence[Any], *, source: str) -> None:
    """Warns where held-out rows, of the file `source`, have prompts that are trained on; "" is no prompt."""
    keys = [{json.dumps(p, sort_keys=True, default=repr) for p in prompts if p} for prompts in (train, heldout)]
    if shared := len(keys[0] & keys[1]):
        warnings.warn(
            f"{source}: {shared} of its {len(keys[1])} prompts are trained on as well; what is measured on them says "
            "little about new prompts",
            stacklevel=2,
        )


def _common_beginning(texts: Sequence[str]) -> str:
    """Returns the lines that all texts begin with, such as the dialogue before two answers."""
    if len(texts) < 2:
        return ""
    # Whatever lies between the first and the last in the order of letters begins with what those two have in common.
    first, last = min(texts), max(texts)
    place = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:place].rpartition("\n")[0]
