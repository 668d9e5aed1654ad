"""What a judge is asked, and what it answers: which of two replies follows a principle better."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textrl_env.data.text import Prompt
from textrl_env.reward_models.ai_feedback.answering import Answerer
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.feedback.desk import Item

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """Which of two replies to a prompt follows the principle better? Replies are texts."""

    prompt: Prompt
    first: str
    second: str
    principle: Principle

    @property
    def swapped(self) -> "Question":
        """The same question with the replies in the other order."""
        return Question(self.prompt, self.second, self.first, self.principle)

    def key(self, judge: str) -> str:
        """Names the question to a judge of that identity, in whatever run it is asked."""
        return key_of("compare", judge, self.principle, self.prompt, self.first, self.second)


class Judge(Answerer, Protocol):
    """Compares replies; a language model, an endpoint, or rules."""

    def check(self, questions: Sequence[Question]) -> None:
        """Raises InputError naming a question that it cannot be asked, before any is."""

    def prefers_first(self, questions: Sequence[Question]) -> FloatArray:
        """How likely the reply that stands first is better, (B,) in [0, 1]; NaN where the answer was not clear.

        The order is the questions': whoever asks does so in both (`judged`).
        """


@dataclass(frozen=True)
class Judged:
    """A question's answers in both orders.

    Attributes:
        forward: how likely the reply shown first is better, as the question stands; NaN if unclear.
        backward: the same with the replies swapped, so that `second` was shown first.
    """

    question: Question
    forward: float
    backward: float

    @property
    def margin(self) -> float:
        """P(first is better) - 1/2, averaged over both orders: in [-1/2, 1/2], the negative for the swapped question.

        A judge that looks at the place only says the same in both orders, and gets 0. An unclear answer counts 1/2.
        """
        forward, backward = (0.5 if np.isnan(p) else p for p in (self.forward, self.backward))
        return (forward - backward) / 2


def judged(judge: Judge, questions: Sequence[Question]) -> list[Judged]:
    """Asks in both orders (as Lee et al. 2023, "RLAIF", section 3.1, against position bias)."""
    both = [*questions, *(question.swapped for question in questions)]
    answers = judge.prefers_first(both).tolist()
    n = len(questions)
    return [Judged(*row) for row in zip(questions, answers[:n], answers[n:], strict=True)]


def questions_of(items: Sequence[Item], principles: Sequence[Sequence[Principle]]) -> list[Question]:
    """One question for each principle of each pair; items of the task "pair"."""
    return [
        Question(item.prompt, item.completions[0], item.completions[1], principle)
        for item, drawn in zip(items, principles, strict=True)
        for principle in drawn
    ]


WORDING = 1
"""Raise it when the requests say something else: earlier answers then count no more."""


def key_of(what: str, who: str, principle: Principle, *content: Any) -> str:
    """32 hex digits that follow from what is asked of whom."""
    asked = json.dumps([WORDING, what, who, principle.text, principle.rule, *content], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]
