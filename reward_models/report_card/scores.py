"""Scores of texts and of the pairs that people compared, and how steady a score is in another batch or order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from textrl_env.reward_models.measuring import PairScores
from textrl_env.reward_models.preferences import Preference

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Scorer(Protocol):
    """Anything that can have a report card; a `RewardModel` is one."""

    def score(self, prompts: Sequence[Any], completions: Sequence[str]) -> Floats:
        """B prompts, B completions -> (B,), higher is better."""


@runtime_checkable
class MemberScorer(Protocol):
    """A scorer that has several opinions, an ensemble."""

    def member_scores(self, prompts: Sequence[Any], completions: Sequence[str]) -> Floats:
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

    prompts: Sequence[Any]
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
        """Subtracts the values of texts, (T, ...), in each pair: (M, ...)."""
        result: Floats = values[self.better] - values[self.worse]
        return result

    def pair_scores(self, values: Floats | None = None) -> PairScores:
        """Returns the pairs as `reward_models.measuring` reads them; by default of the model's scores, else (T,)."""
        return PairScores(self.differences(self.scores if values is None else values), self.probabilities)

    def right(self, values: Floats | None = None) -> Floats:
        """(M,) 1 where the pair is ordered as preferred, 0 where not, 0.5 without a preference on either side."""
        pairs = self.pair_scores(values)
        sides = np.sign(pairs.differences) * np.sign(pairs.probabilities - 0.5)
        return (1 + sides) / 2


def score_preferences(scorer: Scorer, preferences: Sequence[Preference]) -> ScoredPairs:
    """Scores every distinct text of the preferences once."""
    index: dict[tuple[Any, str], int] = {}
    better: list[int] = []
    worse: list[int] = []
    probabilities: list[float] = []
    numbers: list[int] = []
    for number, preference in enumerate(preferences):
        ranking = [index.setdefault((preference.prompt, text), len(index)) for text in preference.ranking]
        pairs = list(combinations(ranking, 2))
        better += [first for first, _ in pairs]
        worse += [second for _, second in pairs]
        probabilities += preference.pair_probabilities
        numbers += [number] * len(pairs)
    prompts, completions = [prompt for prompt, _ in index], [text for _, text in index]
    prompt_numbers: dict[Any, int] = {}
    return ScoredPairs(
        prompts=prompts,
        completions=completions,
        scores=to_log_odds(scorer, scorer.score(prompts, completions)),
        members=score_members(scorer, prompts, completions),
        prompt_of_text=np.array([prompt_numbers.setdefault(prompt, len(prompt_numbers)) for prompt in prompts]),
        better=np.array(better),
        worse=np.array(worse),
        probabilities=np.array(probabilities),
        preference=np.array(numbers),
    )


def score_members(scorer: Scorer, prompts: Sequence[Any], completions: Sequence[str]) -> Floats | None:
    """Returns the scores of an ensemble's members, (B, K); None of any other scorer."""
    return to_log_odds(scorer, scorer.member_scores(prompts, completions)) if isinstance(scorer, MemberScorer) else None


def to_log_odds(scorer: Scorer, scores: Floats) -> Floats:
    """Scales scores so that differences are log odds of being preferred; a normalised model's scale is its `unit`."""
    return np.asarray(scores, dtype=np.float64) * getattr(scorer, "unit", 1.0)


@dataclass(frozen=True)
class Invariance:
    """Largest changes of a score, in standard deviations of the scores; 0 would be exact."""

    batch: float
    """Texts scored one by one instead of together."""
    order: float
    """Together, in the opposite order."""
    padding: float
    """Each beside the longest text."""
    repeat: float
    """Once more, the same way: dropout and other noise."""
    n_texts: int

    @property
    def largest(self) -> float:
        """The largest of all four."""
        return max(self.batch, self.order, self.padding, self.repeat)


def measure_invariance(
    scorer: Scorer, prompts: Sequence[Any], completions: Sequence[str], *, scale: float
) -> Invariance:
    """Scores the same texts five times: alone, in other batches, in another order and beside longer ones.

    Args:
        scorer: the model.
        prompts: B prompts.
        completions: B completions, of different lengths.
        scale: the standard deviation of the model's scores; 0 is taken for 1.
    """
    texts = list(zip(prompts, completions, strict=True))
    longest = max(texts, key=lambda text: len(str(text[0])) + len(text[1]))
    together = _score_texts(scorer, texts)

    def change(values: Floats) -> float:
        return float(np.abs(values - together).max()) / (scale or 1.0)

    def one_by_one(companions: Callable[[tuple[Any, str]], list[tuple[Any, str]]]) -> Floats:
        return np.array([_score_texts(scorer, companions(text))[0] for text in texts])

    return Invariance(
        batch=change(one_by_one(lambda text: [text])),
        order=change(_score_texts(scorer, texts[::-1])[::-1]),
        padding=change(one_by_one(lambda text: [text, longest])),
        repeat=change(_score_texts(scorer, texts)),
        n_texts=len(texts),
    )


def _score_texts(scorer: Scorer, texts: Sequence[tuple[Any, str]]) -> Floats:
    prompts, completions = zip(*texts, strict=True)
    return np.asarray(scorer.score(list(prompts), list(completions)), dtype=np.float64)
