"""Texts with their scores, and the pairs that people compared: what the report card is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from textrl_env.reward_models.measuring import PairScores
from textrl_env.reward_models.preferences import Preference

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Scorer(Protocol):
    """What can have a report card; a `RewardModel` is one."""

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """B prompts, B completions -> (B,), higher is better."""


@runtime_checkable
class Ensemble(Protocol):
    """A scorer that has several opinions."""

    def member_scores(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """B prompts, B completions -> (B, K), a column a member."""


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of completions of a prompt, the one that people preferred first, each distinct text scored once.

    Attributes:
        prompts, completions: T texts.
        scores: (T,).
        members: (T, K), the scores of an ensemble's members; else None.
        prompt_of_text: (T,) whole numbers from 0, equal where the prompt is.
        better, worse: (M,) indices into the texts.
        probabilities: (M,) how likely people prefer the first, 1 for hard labels.
        preference: (M,) the index of the preference that the pair is of.
    """

    prompts: Sequence[str]
    completions: Sequence[str]
    scores: Floats
    members: Floats | None
    prompt_of_text: Ints
    better: Ints
    worse: Ints
    probabilities: Floats
    preference: Ints

    @property
    def cluster(self) -> Ints:
        """(M,) whole numbers, equal for pairs of one prompt: they are drawn together by the bootstrap."""
        return self.prompt_of_text[self.better]

    def differences(self, values: Floats) -> Floats:
        """Of values of texts, (T, ...), in each pair: (M, ...)."""
        found: Floats = values[self.better] - values[self.worse]
        return found

    def pair_scores(self, values: Floats | None = None) -> PairScores:
        """For the functions of `quality`; of other scores than the model's, where given: (T,)."""
        return PairScores(self.differences(self.scores if values is None else values), self.probabilities)

    def right(self, values: Floats | None = None) -> Floats:
        """(M,) 1 where the pair is ordered as preferred, 0 where not, 0.5 without a preference on either side."""
        pairs = self.pair_scores(values)
        sides = np.sign(pairs.differences) * np.sign(pairs.probabilities - 0.5)
        return (1 + sides) / 2


def score_preferences(scorer: Scorer, preferences: Sequence[Preference]) -> ScoredPairs:
    """Scores every distinct text of the preferences once."""
    index: dict[tuple[str, str], int] = {}
    better: list[int] = []
    worse: list[int] = []
    probabilities: list[float] = []
    owner: list[int] = []
    for number, preference in enumerate(preferences):
        own = [index.setdefault((preference.prompt, text), len(index)) for text in preference.ranking]
        pairs = list(combinations(own, 2))
        better += [first for first, _ in pairs]
        worse += [second for _, second in pairs]
        probabilities += preference.pair_probabilities
        owner += [number] * len(pairs)
    prompts, completions = [prompt for prompt, _ in index], [text for _, text in index]
    of_prompt: dict[str, int] = {}
    return ScoredPairs(
        prompts=prompts,
        completions=completions,
        scores=log_odds(scorer, scorer.score(prompts, completions)),
        members=members_of(scorer, prompts, completions),
        prompt_of_text=np.array([of_prompt.setdefault(prompt, len(of_prompt)) for prompt in prompts]),
        better=np.array(better),
        worse=np.array(worse),
        probabilities=np.array(probabilities),
        preference=np.array(owner),
    )


def members_of(scorer: Scorer, prompts: Sequence[str], completions: Sequence[str]) -> Floats | None:
    """Scores of an ensemble's members, (B, K), or None."""
    return log_odds(scorer, scorer.member_scores(prompts, completions)) if isinstance(scorer, Ensemble) else None


def log_odds(scorer: Scorer, scores: Floats) -> Floats:
    """Scores whose differences are log odds of being preferred; normalised ones are a multiple, the model's `unit`."""
    return np.asarray(scores, dtype=np.float64) * getattr(scorer, "unit", 1.0)
