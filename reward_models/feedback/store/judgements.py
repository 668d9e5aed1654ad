"""Judgements, the answers of annotators, and checking them wherever they come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, ClassVar

from textrl_env.data import find_text_fault
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store.items import LabelTask

MAX_COMMENT = 2000


@dataclass(frozen=True)
class Judgement:
    """An annotator's answer, in the item's own order of completions, never in the order on the screen.

    Attributes:
        ranks: per completion, 1 + how many are strictly better, so (1, 1) is a tie; None for a rating or a skip.
        rating: 1 (worst) to 7 (best); None unless the item is a rating.
        tags: per completion, those of `TAGS` that hold.
        reasons: those of `REASONS` that decided.
        comment: free text, at most 2000 characters.
    """

    TAGS: ClassVar = ("unsafe", "off topic", "false", "too long")
    """What may be wrong with one completion."""
    REASONS: ClassVar = ("correct", "helpful", "clear", "concise")
    """What may decide a judgement."""
    N_POINTS: ClassVar = 7
    """The best rating."""

    ranks: tuple[int, ...] | None = None
    rating: int | None = None
    tags: tuple[tuple[str, ...], ...] = ()
    reasons: tuple[str, ...] = ()
    comment: str = ""

    @classmethod
    def from_values(cls, values: Mapping[str, Any], task: LabelTask, k: int, *, is_answer: bool) -> "Judgement":
        """Makes a judgement of an item of `task` with `k` completions from values of unknown origin.

        Args:
            values: the attributes, any of them missing; other keys are refused.
            task: of the item.
            k: the item's number of completions.
            is_answer: whether ranks or a rating must be there; else they must not be.

        Raises:
            InputError: says which value is wrong.
        """
        if unknown := set(values) - {"ranks", "rating", "tags", "reasons", "comment"}:
            raise InputError(f"unknown keys in a judgement: {', '.join(sorted(map(repr, unknown)))}")
        ranks, rating = values.get("ranks"), values.get("rating")
        _check_answer(ranks, rating, k, answer=("rating" if task == "rating" else "ranks") if is_answer else None)
        tags, reasons, comment = values.get("tags") or [], values.get("reasons") or [], values.get("comment", "")
        _check_notes(tags, reasons, comment, k)
        return cls(
            tuple(ranks) if ranks is not None else None, rating, tuple(map(tuple, tags)), tuple(reasons), comment
        )

    @property
    def is_answer(self) -> bool:
        """False for a skip and an undo."""
        return self.ranks is not None or self.rating is not None

    @property
    def verdicts(self) -> tuple[int, ...]:
        """Values on which judgements of an item can agree: -1, 0 or 1 per pair of completions, or a rating's points."""
        if self.ranks is None:
            return () if self.rating is None else (self.rating,)
        return tuple((a > b) - (a < b) for a, b in combinations(self.ranks, 2))

    def to_json(self) -> str:
        """Returns the attributes as a JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def restore_order(self, order: Sequence[int]) -> "Judgement":
        """Returns this judgement of completions on the screen, put back into the order of the item.

        Args:
            order: place on the screen -> index in the item.
        """
        places = sorted(range(len(order)), key=order.__getitem__)
        return Judgement(
            None if self.ranks is None else tuple(self.ranks[place] for place in places),
            self.rating,
            tuple(self.tags[place] for place in places) if self.tags else (),
            self.reasons,
            self.comment,
        )


def rank_groups(groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Ranks completions by groups of equally good ones, best first: [[2], [0, 1]] -> (2, 2, 1)."""
    ranks = [0] * sum(map(len, groups))
    better = 0
    for group in groups:
        for index in group:
            ranks[index] = better + 1
        better += len(group)
    return tuple(ranks)


def _check_answer(ranks: Any, rating: Any, k: int, *, answer: str | None) -> None:
    if (ranks is not None) is not (answer == "ranks") or (rating is not None) is not (answer == "rating"):
        parts = {"ranks": "ranks only", "rating": "a rating only", None: "neither ranks nor a rating"}[answer]
        raise InputError(f"expected {parts}, got ranks {ranks!r:.60} and rating {rating!r:.60}")
    if ranks is not None and not _are_ranks(ranks, k):
        raise InputError(f"'ranks' must be {k} ranks, 1 + the number of better completions; got {ranks!r:.60}")
    n = Judgement.N_POINTS
    if rating is not None and not (_is_whole(rating) and 1 <= rating <= n):
        raise InputError(f"'rating' must be a whole number from 1 to {n}, got {rating!r:.60}")


def _check_notes(tags: Any, reasons: Any, comment: Any, k: int) -> None:
    known_tags, known_reasons = Judgement.TAGS, Judgement.REASONS
    if (
        not isinstance(tags, list | tuple)
        or (tags and len(tags) != k)
        or not all(_are_from(known_tags, names) for names in tags)
    ):
        raise InputError(f"'tags' must be {k} lists of {', '.join(map(repr, known_tags))}; got {tags!r:.100}")
    if not _are_from(known_reasons, reasons):
        raise InputError(f"'reasons' must be a list of {', '.join(map(repr, known_reasons))}; got {reasons!r:.100}")
    if fault := find_text_fault(comment):
        raise InputError(f"'comment' {fault}")
    if len(comment) > MAX_COMMENT:
        raise InputError(f"'comment' has {len(comment)} characters, at most {MAX_COMMENT} fit")


def _are_ranks(value: Any, k: int) -> bool:
    if not isinstance(value, list | tuple) or len(value) != k or not all(map(_is_whole, value)):
        return False
    return all(rank == 1 + sum(another < rank for another in value) for rank in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_from(vocabulary: Sequence[str], value: Any) -> bool:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        return False
    return len(set(value)) == len(value) and set(value) <= set(vocabulary)
