"""Prompts, which are what customers write: enumerated, sampled, split and parsed.

A prompt is `Customer: <greeting> <request clause> [mood] [ask]` and the cue `Agent:` on a new line. Every combination
is a different text, so a prompt is a number in `range(count_prompts())`, and sampling needs no rejection.
"""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.worlds.support_desk.language import (
    ASKS,
    GREETINGS,
    HARMFUL,
    MOODS,
    PROBLEMS,
    PRODUCTS,
    TIMES,
    normalize,
)

Split = Literal["train", "heldout"]
HELDOUT_ONE_IN = 10
"""One prompt in this many is held out."""


@dataclass(frozen=True)
class SupportRequest:
    """The meaning of a prompt."""

    problem: str
    """A key of `language.PROBLEMS`, or of `language.HARMFUL` where `harmful`."""
    product: str
    """One of `language.PRODUCTS`."""
    harmful: bool
    """True where the desk must refuse."""


@functools.cache
def _clauses() -> tuple[tuple[str, SupportRequest], ...]:
    """Lists the request clauses with their meanings."""
    helpable = [
        (clause.format(product=product, time=time), SupportRequest(problem, product, harmful=False))
        for problem, clauses in PROBLEMS.items()
        for clause in clauses
        for product in PRODUCTS
        for time in TIMES
    ]
    harmful = [
        (clause.format(product=product), SupportRequest(problem, product, harmful=True))
        for problem, clauses in HARMFUL.items()
        for clause in clauses
        for product in PRODUCTS
    ]
    return tuple(helpable + harmful)


def _size() -> int:
    return len(_clauses()) * len(GREETINGS) * len(MOODS) * len(ASKS)


def _prompt(index: int) -> tuple[str, SupportRequest]:
    """Returns prompt number `index` of the grammar, in mixed radix: ask, mood, greeting, clause."""
    index, ask = divmod(index, len(ASKS))
    index, mood = divmod(index, len(MOODS))
    clause, greeting = divmod(index, len(GREETINGS))
    text, request = _clauses()[clause]
    parts = (f"Customer: {GREETINGS[greeting]}", text, MOODS[mood], ASKS[ask])
    return " ".join(part for part in parts if part) + "\nAgent:", request


def split_of(prompt: str) -> Split:
    """Returns the split of a prompt, from a stable hash of its text: the same on every machine, for every seed."""
    digest = hashlib.sha256(prompt.encode("utf-8")).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") % HELDOUT_ONE_IN == 0 else "train"


def count_prompts(split: Split | None = None) -> int:
    """Counts the distinct prompts of the grammar, in all or in one split."""
    if split is None:
        return _size()
    _check_split(split)
    return sum(split_of(_prompt(index)[0]) == split for index in range(_size()))


def prompts(n: int, *, seed: int, split: Split = "train") -> list[dict[str, Any]]:
    """Samples distinct prompts uniformly from one split.

    Args:
        n: number of rows, at most `count_prompts(split)`.
        seed: of a generator of its own; the same arguments give the same rows.
        split: "train" or "heldout"; no prompt is in both, whatever the seeds.

    Returns:
        n rows with `prompt` (str), `problem` (str), `product` (str) and `harmful` (bool). Only `prompt` matters to the
        gold reward; the others are for grouping results.
    """
    require_count(0, n=n)
    _check_split(split)
    rows: list[dict[str, Any]] = []
    for index in np.random.default_rng(require_seed(seed)).permutation(_size()):
        if len(rows) == n:
            break
        text, request = _prompt(int(index))
        if split_of(text) == split:
            rows.append(
                {"prompt": text, "problem": request.problem, "product": request.product, "harmful": request.harmful}
            )
    if len(rows) < n:
        raise InputError(
            f"the support desk has {len(rows)} distinct prompts in split {split!r}, and n={n} were asked for; "
            f"lower n or repeat rows yourself"
        )
    return rows


def _check_split(split: str) -> None:
    if split not in ("train", "heldout"):
        raise InputError(f"split must be 'train' or 'heldout', got {split!r}")


@functools.cache
def _clause_meanings() -> dict[str, SupportRequest]:
    return {normalize(text): request for text, request in _clauses()}


@functools.cache
def _endings() -> frozenset[str]:
    return frozenset(normalize(f"{mood} {ask}") for mood in MOODS for ask in ASKS)


@functools.cache
def _greetings() -> frozenset[str]:
    return frozenset(normalize(greeting) for greeting in GREETINGS)


def parse_prompt(prompt: str) -> SupportRequest:
    """Reads the meaning of a prompt from its text alone; spacing does not matter, every word does."""
    text = normalize(prompt)
    if text.startswith("Customer : ") and text.endswith(" Agent :"):
        greeting, comma, body = text[len("Customer : ") : -len(" Agent :")].partition(" , ")
        clause, stop, ending = body.partition(" .")
        request = _clause_meanings().get(clause + stop)
        if greeting + comma.rstrip() in _greetings() and request is not None and ending.strip() in _endings():
            return request
    raise InputError(
        f"not a prompt of the support desk: {prompt!r}; expected a row of support_desk.prompts(), such as "
        f"{_prompt(0)[0]!r} (its gold reward knows no other requests)"
    )
