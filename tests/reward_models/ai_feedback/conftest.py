"""Principles, questions, and judges whose habits are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judge import Question

SHORT = Principle("short", "A good reply is short.")


@dataclass
class PlantedJudge:
    """Prefers the shorter reply, by `skill` nats a character, and the one shown first, by `bias` nats."""

    skill: float = 1.0
    bias: float = 0.0
    name: str = "planted"
    batch_size: int = 4
    workers: int = 1
    fails_at: int | None = None
    asked: list[Question] = field(default_factory=list)

    @property
    def identity(self) -> str:
        return f"{self.name}-{self.skill}-{self.bias}"

    def check(self, questions: Sequence[Question]) -> None:
        """Anything goes."""

    def prefers_first(self, questions: Sequence[Question]) -> Any:
        self.asked += questions
        if self.fails_at is not None and len(self.asked) > self.fails_at:
            raise RuntimeError("the judge broke down")
        longer = np.array([len(question.second) - len(question.first) for question in questions])
        return 1 / (1 + np.exp(-(self.skill * longer + self.bias)))


def questions(n: int, *, seed: int = 0) -> list[Question]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, size=(n, 2))
    return [Question(f"p{number}", "a" * a, "b" * b, SHORT) for number, (a, b) in enumerate(lengths.tolist())]


@pytest.fixture
def make_judge() -> Callable[..., PlantedJudge]:
    return PlantedJudge


@pytest.fixture
def make_questions() -> Callable[..., list[Question]]:
    """n questions, each about a prompt of its own, on replies of 1 to 11 letters."""
    return questions
