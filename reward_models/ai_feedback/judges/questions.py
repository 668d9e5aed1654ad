"""Questions of AI feedback: which of two replies follows a principle better, and how a reply can be mended.

Judges answer the former, revisers the latter.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textrl_env.data.text import Prompt
from textrl_env.reward_models.ai_feedback.constitution import Principle

FloatArray = NDArray[np.float64]

WORDING = 1
"""Raise it when the requests say something else: earlier answers then count no more."""


@dataclass(frozen=True)
class JudgeQuestion:
    """Asks which of two replies to a prompt follows the principle better; replies are texts."""

    prompt: Prompt
    first: str
    second: str
    principle: Principle

    @property
    def swapped(self) -> "JudgeQuestion":
        """The same question with the replies in the other order."""
        return JudgeQuestion(self.prompt, self.second, self.first, self.principle)

    def key(self, judge: str) -> str:
        """Names the question to a judge of that identity, in whatever run it is asked."""
        return _hash_question("compare", judge, self.principle, [self.prompt, self.first, self.second])


@dataclass(frozen=True)
class JudgeVerdict:
    """A judge's answers to a question in both orders.

    Attributes:
        forward: how likely the reply shown first is better, as the question stands; NaN if unclear.
        backward: the same with the replies swapped, so that `second` was shown first.
    """

    question: JudgeQuestion
    forward: float
    backward: float

    @property
    def margin(self) -> float:
        """P(first is better) - 1/2, averaged over both orders: in [-1/2, 1/2], the negative for the swapped question.

        A judge that looks at the place only says the same in both orders, and gets 0. An unclear answer counts 1/2.
        """
        forward, backward = (0.5 if np.isnan(p) else p for p in (self.forward, self.backward))
        return (forward - backward) / 2


@dataclass(frozen=True)
class Draft:
    """A reply that is to be criticised and revised under a principle."""

    prompt: Prompt
    completion: str
    principle: Principle

    def key(self, reviser: str) -> str:
        """Names the draft to a reviser of that identity, in whatever run it is asked."""
        return _hash_question("revise", reviser, self.principle, [self.prompt, self.completion])


@dataclass(frozen=True)
class Revision:
    """A critique, which says what is wrong with a draft, and the reply written anew."""

    critique: str
    text: str


class Answerer(Protocol):
    """A judge or a reviser: its name, and how it is asked."""

    @property
    def name(self) -> str:
        """Goes into the column `annotator`."""

    @property
    def identity(self) -> str:
        """Says what answers depend on besides the question: one on the disk counts for the same identity only."""

    @property
    def batch_size(self) -> int:
        """Questions that it takes best at once."""

    @property
    def workers(self) -> int:
        """Batches that it can answer at the same time, from threads of their own."""


class Judge(Answerer, Protocol):
    """Compares replies; a language model, an endpoint, or rules."""

    def check(self, questions: Sequence[JudgeQuestion]) -> None:
        """Raises InputError naming a question that it cannot be asked, before any is."""

    def prefers_first(self, questions: Sequence[JudgeQuestion]) -> FloatArray:
        """Returns how likely the reply that stands first is better, (B,) in [0, 1]; NaN where the answer is unclear.

        The order of the replies is the questions': to ask in both orders is the caller's part (`judge_both_orders`).
        """


class Reviser(Answerer, Protocol):
    """Writes replies anew; a language model, an endpoint, or rules."""

    def revise(self, drafts: Sequence[Draft]) -> list[Revision]:
        """Returns a revision of each draft."""


def _hash_question(task: str, answerer: str, principle: Principle, texts: list[Any]) -> str:
    """Returns 32 hex digits that follow from what is asked of whom."""
    content = json.dumps([WORDING, task, answerer, principle.text, principle.rule, *texts], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]
