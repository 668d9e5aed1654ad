"""What is asked of an annotator (an item) and what comes back (a judgement); both checked wherever they come from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal, get_args

from textrl_env.data import prompt_fault, text_fault
from textrl_env.errors import InputError

Task = Literal["pair", "ranking", "rating"]
TASKS: tuple[Task, ...] = get_args(Task)
TAGS = ("unsafe", "off topic", "false", "too long")
"""What may be wrong with one completion."""
REASONS = ("correct", "helpful", "clear", "concise")
"""What decided a judgement."""
N_POINTS = 7
MAX_COMMENT = 2000
MAX_RANKED = 9
"""As many completions as there are digit keys."""
_SIZES = {"pair": (2, 2), "ranking": (2, MAX_RANKED), "rating": (1, 1)}


@dataclass(frozen=True)
class Item:
    """One question: compare, rank or rate completions of a prompt.

    Attributes:
        task: `pair` compares two completions, `ranking` orders 2 to 9, `rating` gives one 1 to 7 points.
        prompt: a text (may be empty) or a conversation.
        completions: distinct texts; an empty one is fine.
    """

    task: Task
    prompt: str | list[dict[str, Any]]
    completions: tuple[str, ...]

    @property
    def id(self) -> str:
        """32 hex digits that follow from the content: the same question is the same item in every database."""
        content = json.dumps([self.task, self.prompt, self.completions], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def item_fault(task: Any, prompt: Any, completions: Any) -> str | None:
    """What keeps the three from being an `Item`, or None."""
    if task not in TASKS:
        return f"'task' must be one of {', '.join(TASKS)}, got {task!r:.40}"
    if prompt != "" and (fault := prompt_fault(prompt)):
        return f"'prompt' {fault}"
    low, high = _SIZES[task]
    if not isinstance(completions, Sequence) or isinstance(completions, str) or not low <= len(completions) <= high:
        wanted = str(low) if low == high else f"{low} to {high}"
        found = len(completions) if isinstance(completions, list | tuple) else type(completions).__name__
        return f"'completions' must be a list of {wanted} for task {task!r}, got {found}"
    for number, text in enumerate(completions, start=1):
        if fault := text_fault(text):
            return f"completion {number} {fault}"
    return "two 'completions' are the same text" if len(set(completions)) < len(completions) else None


@dataclass(frozen=True)
class Judgement:
    """An annotator's answer, in the item's own order of completions, never in the order they were shown.

    Attributes:
        ranks: per completion, 1 + how many are strictly better, so (1, 1) is a tie; None for a rating or a skip.
        rating: 1 (worst) to 7 (best); None unless the item is a rating.
        tags: per completion, those of `TAGS` that hold.
        reasons: those of `REASONS` that decided.
        comment: free text, at most 2000 characters.
    """

    ranks: tuple[int, ...] | None = None
    rating: int | None = None
    tags: tuple[tuple[str, ...], ...] = ()
    reasons: tuple[str, ...] = ()
    comment: str = ""

    @property
    def answered(self) -> bool:
        """False for a skip and an undo."""
        return self.ranks is not None or self.rating is not None

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def shown_in(self, order: Sequence[int]) -> "Judgement":
        """This judgement of completions shown in `order` (place -> index in the item), put back into the item's."""
        back = sorted(range(len(order)), key=order.__getitem__)
        return Judgement(
            None if self.ranks is None else tuple(self.ranks[place] for place in back),
            self.rating,
            tuple(self.tags[place] for place in back) if self.tags else (),
            self.reasons,
            self.comment,
        )


def ranks_of(groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """From groups of equally good completions, best first, to a rank for each: [[2], [0, 1]] -> (2, 2, 1)."""
    ranks = [0] * sum(map(len, groups))
    better = 0
    for group in groups:
        for index in group:
            ranks[index] = better + 1
        better += len(group)
    return tuple(ranks)


def verdicts(judgement: Judgement) -> tuple[int, ...]:
    """What two judgements of one item can agree on: per pair of completions -1, 0 or 1; for a rating, its points."""
    if judgement.ranks is None:
        return () if judgement.rating is None else (judgement.rating,)
    return tuple((a > b) - (a < b) for a, b in combinations(judgement.ranks, 2))


def judgement_of(values: Mapping[str, Any], task: Task, k: int, *, answered: bool) -> Judgement:
    """A judgement of an item of `task` with `k` completions from values of unknown origin.

    Args:
        values: the attributes of `Judgement`, any of them missing; other keys are refused.
        answered: whether ranks or a rating must be there; else they must not be.

    Raises:
        InputError: says which value is not what it should be.
    """
    if unknown := set(values) - {"ranks", "rating", "tags", "reasons", "comment"}:
        raise InputError(f"unknown keys in a judgement: {', '.join(sorted(map(repr, unknown)))}")
    ranks, rating = values.get("ranks"), values.get("rating")
    tags, reasons, comment = values.get("tags") or [], values.get("reasons") or [], values.get("comment", "")
    ranked, rated = answered and task != "rating", answered and task == "rating"
    if (ranks is not None) is not ranked or (rating is not None) is not rated:
        wanted = "ranks only" if ranked else "a rating only" if rated else "neither ranks nor a rating"
        raise InputError(f"expected {wanted}, got ranks {ranks!r:.60} and rating {rating!r:.60}")
    if ranked and not _are_ranks(ranks, k):
        raise InputError(f"'ranks' must be {k} ranks, 1 + the number of better completions; got {ranks!r:.60}")
    if rated and not (_is_whole(rating) and 1 <= rating <= N_POINTS):  # type: ignore[operator]
        raise InputError(f"'rating' must be a whole number from 1 to {N_POINTS}, got {rating!r:.60}")
    if not isinstance(tags, list | tuple) or (tags and len(tags) != k) or not all(_from(TAGS, each) for each in tags):
        raise InputError(f"'tags' must be {k} lists of {', '.join(map(repr, TAGS))}; got {tags!r:.100}")
    if not _from(REASONS, reasons):
        raise InputError(f"'reasons' must be a list of {', '.join(map(repr, REASONS))}; got {reasons!r:.100}")
    if fault := text_fault(comment):
        raise InputError(f"'comment' {fault}")
    if len(comment) > MAX_COMMENT:
        raise InputError(f"'comment' has {len(comment)} characters, at most {MAX_COMMENT} fit")
    return Judgement(
        tuple(ranks) if ranks is not None else None, rating, tuple(map(tuple, tags)), tuple(reasons), comment
    )


def _are_ranks(value: Any, k: int) -> bool:
    if not isinstance(value, list | tuple) or len(value) != k or not all(map(_is_whole, value)):
        return False
    return all(rank == 1 + sum(other < rank for other in value) for rank in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _from(vocabulary: Sequence[str], value: Any) -> bool:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        return False
    return len(set(value)) == len(value) and set(value) <= set(vocabulary)
