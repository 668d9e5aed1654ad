"""Reward models that are planted: each has one known fault, or none."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from textrl_env.reward_models import Preference
from textrl_env.reward_models.feedback.simulated_raters import sigmoid

FILLER = ("the", "lamp", "we", "send", "it", "soon", "thanks", "order", "box", "today")
NOISE = 0.5
"""People choose with probability sigmoid(difference of truth / NOISE)."""


def truth_of(text: str) -> float:
    """Every text says what it is worth, in a word that looks alike whatever that is."""
    found = re.search(r"v(\d{5})", text)
    assert found is not None
    return int(found[1]) / 1000 - 50


class Planted:
    """Scores by a function of a text, scaled as people choose."""

    def __init__(self, of: Callable[[str], float], *, scale: float = 1 / NOISE) -> None:
        self.of, self.scale = of, scale

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> np.ndarray:
        assert len(prompts) == len(completions)
        return self.scale * np.array([self.of(text) for text in completions])


class DependsOnBatch(Planted):
    """As a model that reads padding: a text's score falls with the longest text beside it."""

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> np.ndarray:
        return super().score(prompts, completions) - 0.01 * max(map(len, completions))


def text(rng: np.random.Generator, value: float, n_words: int) -> str:
    return " ".join([f"v{round(1000 * (value + 50))}", *rng.choice(FILLER, size=n_words)])


def make_preferences(n: int, *, length_matters: float = 0.0, seed: int = 0) -> list[Preference]:
    """Rankings of three texts a prompt; with `length_matters` the better text tends to have more words."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        values = rng.normal(size=3)
        words = np.clip(np.round(12 + 4 * (length_matters * values + rng.normal(size=3))), 2, None).astype(int)
        texts = [text(rng, value, k) for value, k in zip(values, words, strict=True)]
        order = np.argsort(-(values + NOISE * rng.gumbel(size=3)))
        found.append(Preference(f"prompt {number}", tuple(texts[at] for at in order), where=f"p:{number + 1}"))
    return found


def best_accuracy(preferences: Sequence[Preference]) -> float:
    """Of the true values, in expectation."""
    gaps = [
        truth_of(a) - truth_of(b)
        for row in preferences
        for at, a in enumerate(row.ranking)
        for b in row.ranking[at + 1 :]
    ]
    return float(sigmoid(np.abs(np.array(gaps)) / NOISE).mean())


@pytest.fixture
def planted() -> Any:
    """The module's makers, for tests beside it."""
    import types

    return types.SimpleNamespace(
        Planted=Planted,
        DependsOnBatch=DependsOnBatch,
        truth_of=truth_of,
        preferences=make_preferences,
        text=text,
        best_accuracy=best_accuracy,
        NOISE=NOISE,
    )
