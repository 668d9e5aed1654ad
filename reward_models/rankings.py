"""Orders of completions in rows: chosen and rejected, a ranking, or completions with ranks, which may be tied."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from textrl_env.data.columns import Conversation, is_given, parse_number, read_list, split_prompt
from textrl_env.data.text import completion_text
from textrl_env.errors import InputError


class IdenticalTextsError(InputError):
    """A row offers no choice."""


@dataclass(frozen=True)
class RankedTexts:
    """Completions of a prompt, best first; `probabilities` of their pairs are there where some are tied."""

    prompt: str | Conversation
    texts: tuple[str, ...]
    probabilities: tuple[float, ...] | None = None


def read_ranking(row: Mapping[str, Any]) -> RankedTexts:
    """Reads `ranking`, or else `chosen` and `rejected`, and the `prompt`; InputError says what is wrong.

    The ends of a ranking may stand in `chosen` and `rejected` as well, but not the other way round.
    """
    values = read_list(row, "ranking")
    if values is None:
        for column in ("chosen", "rejected"):
            if column not in row:
                raise InputError(f"no column {column!r} (found: {', '.join(map(repr, row)) or 'none'})")
        columns = {f"column {column!r}": row[column] for column in ("chosen", "rejected")}
        prompt, texts = split_prompt(row.get("prompt"), columns)
        if texts[0] == texts[1]:
            raise IdenticalTextsError(f"'chosen' and 'rejected' are the same text: {texts[0]!r:.80}")
        return RankedTexts(prompt, tuple(texts))
    if len(values) < 2:
        raise InputError(f"'ranking' must hold two completions or more, got {len(values)}")
    values, ranks = _sort_ranked(row, values)
    names = {f"item {place} of 'ranking'": value for place, value in enumerate(values, start=1)}
    prompt, texts = split_prompt(row.get("prompt"), names)
    _check_ends(row, texts)
    soft = [0.5 if a == b else 1.0 for a, b in combinations(ranks, 2)]
    return RankedTexts(prompt, tuple(texts), tuple(soft) if 0.5 in soft else None)


def _sort_ranked(row: Mapping[str, Any], values: list[Any]) -> tuple[list[Any], list[float]]:
    """Returns completions, best first, and their ranks: those of `{"value": …, "rank": …}`, else their places."""
    if not any(isinstance(value, Mapping) for value in values):
        return values, list(map(float, range(len(values))))
    pairs = []
    for place, value in enumerate(values, start=1):
        if not isinstance(value, Mapping) or not {"value", "rank"} <= value.keys():
            raise InputError(f"item {place} of 'ranking' must be an object with 'value' and 'rank', got {value!r:.100}")
        rank = parse_number(value["rank"])
        if rank != rank:
            raise InputError(f"the rank of item {place} of 'ranking' must be a number, got {value['rank']!r:.100}")
        text = value["value"]
        pairs.append((rank, row[text] if isinstance(text, str) and text in row else text))
    pairs.sort(key=lambda pair: pair[0])
    return [text for _, text in pairs], [rank for rank, _ in pairs]


def _check_ends(row: Mapping[str, Any], texts: list[str]) -> None:
    ends = [row.get(column) for column in ("chosen", "rejected")]
    if not all(map(is_given, ends)):
        return
    better, worse = (completion_text(end) if isinstance(end, str | list | tuple) else end for end in ends)
    if better in texts and worse in texts and texts.index(worse) < texts.index(better):
        raise InputError("'ranking' has 'rejected' before 'chosen'; it must be best first")
