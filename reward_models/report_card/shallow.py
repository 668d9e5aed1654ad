"""Features that say nothing of what a text means, and how much of a reward model they explain."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from textrl_env.reward_models.feedback.raters import word_counts
from textrl_env.reward_models.measuring import accuracy
from textrl_env.reward_models.report_card.calibration import best_factor, stated
from textrl_env.reward_models.report_card.correlation import centred, partial_spearman, residual, spearman
from textrl_env.reward_models.report_card.scored import Floats, Ints, ScoredPairs
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean

_WORD = re.compile(r"\w+(?:'\w+)?")
_MARK = re.compile(r"[^\w\s]")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _repetition(words: Sequence[str]) -> float:
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def _overlap(prompt: str, words: Sequence[str]) -> float:
    return float(np.mean(np.isin(words, _words(prompt)))) if words else 0.0


def shallow_features(prompts: Sequence[str], completions: Sequence[str]) -> dict[str, Floats]:
    """Of each completion, by name: (B,).

    `words`, `characters` and `punctuation` (marks) are counts; `repetition` is the share of word pairs that came
    before, `variety` the type-token ratio (different words over words), `prompt overlap` the share of words that the
    prompt has too.
    """
    words = [_words(text) for text in completions]
    columns: dict[str, Sequence[float] | Floats] = {
        "words": word_counts(completions),
        "characters": [len(text) for text in completions],
        "punctuation": [len(_MARK.findall(text)) for text in completions],
        "repetition": [_repetition(each) for each in words],
        "variety": [len(set(each)) / len(each) if each else 0.0 for each in words],
        "prompt overlap": [_overlap(*pair) for pair in zip(prompts, words, strict=True)],
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


@dataclass(frozen=True)
class FeatureLine:
    """A feature beside the score. NaN where the feature is constant."""

    name: str
    correlation: float
    """Spearman's, within prompts: of score and feature, each minus its mean over the prompt's texts."""
    partial: float
    """The same with the other features taken out."""
    people: Estimate
    """Share of pairs in which people prefer the text that has more of the feature."""
    model: float
    """Mean probability that the model, its temperature put right, gives to the text that has more of it."""
    tilt: Estimate
    """`model` minus `people`: 0 for a calibrated model, whatever the feature's worth and however noisy the labels."""


@dataclass(frozen=True)
class Shallow:
    """How much of the model is shallow."""

    features: tuple[FeatureLine, ...]
    explained: float
    """R² of the regression of the score on the features and their squares, within prompts."""
    accuracy: float
    left: Estimate
    """Accuracy of what the regression leaves of the score."""
    share_left: Estimate
    """(left - 1/2) / (accuracy - 1/2); NaN where the accuracy is not above 1/2."""
    matched: Estimate
    """Accuracy on pairs of nearly the same number of words, within a tenth."""
    n_matched: int

    @property
    def most_tilted(self) -> FeatureLine | None:
        """The feature with the largest tilt."""
        known = [line for line in self.features if not np.isnan(line.tilt.value)]
        return max(known, key=lambda line: abs(line.tilt.value), default=None)


def measure_shallow(pairs: ScoredPairs, *, rng: np.random.Generator) -> Shallow:
    """Correlations, tilts, and what accuracy the score has beyond the features."""
    features = shallow_features(pairs.prompts, pairs.completions)
    factor = best_factor(pairs.pair_scores())
    group = pairs.prompt_of_text
    score = centred(pairs.scores, group)
    columns = centred(np.stack(list(features.values()), axis=1), group)
    lines = tuple(
        _line(pairs, name, score, columns, number, factor, values, rng)
        for number, (name, values) in enumerate(features.items())
    )
    left = residual(score, _with_squares(columns))
    variance = float(score @ score)
    words = features["words"]
    gap, size = np.abs(pairs.differences(words)), words[pairs.better] + words[pairs.worse]
    matched = np.flatnonzero(gap <= 0.1 * size / 2)
    return Shallow(
        features=lines,
        explained=1 - float(left @ left) / variance if variance else 0.0,
        accuracy=accuracy(pairs.pair_scores()),
        left=estimate_mean(pairs.right(left), pairs.cluster, rng=rng),
        share_left=_share(pairs.right(left), pairs.right(), pairs.cluster, rng),
        matched=estimate_mean(pairs.right()[matched], pairs.cluster[matched], rng=rng),
        n_matched=len(matched),
    )


def _line(
    pairs: ScoredPairs, name: str, score: Floats, columns: Floats, number: int, factor: float, values: Floats,
    rng: np.random.Generator,
) -> FeatureLine:  # fmt: skip
    difference = pairs.differences(values)
    uneven = np.flatnonzero(difference)
    sign = np.sign(difference[uneven])
    people = 0.5 + sign * (pairs.probabilities[uneven] - 0.5)
    model = 0.5 + sign * (stated(pairs, factor)[uneven] - 0.5)
    cluster = pairs.cluster[uneven]
    return FeatureLine(
        name=name,
        correlation=spearman(score, columns[:, number]),
        partial=partial_spearman(score, columns[:, number], np.delete(columns, number, axis=1)),
        people=estimate_mean(people, cluster, rng=rng),
        model=float(model.mean()) if len(model) else float("nan"),
        tilt=estimate_mean(model - people, cluster, rng=rng),
    )


def _with_squares(columns: Floats) -> Floats:
    """Features of spread 1 and their squares, so that a score which levels off with length is taken out as well."""
    spread = columns.std(axis=0)
    scaled = columns / np.where(spread > 0, spread, 1)
    return np.column_stack([scaled, scaled**2])


def _share(left: Floats, right: Floats, cluster: Ints, rng: np.random.Generator) -> Estimate:
    """Of the means above 1/2 of two arrays (M,)."""

    def share(rows: Ints) -> float:
        whole = float(right[rows].mean()) - 0.5
        return (float(left[rows].mean()) - 0.5) / whole if whole > 0 else float("nan")

    return bootstrap_estimate(share, cluster, rng=rng, resamples=500)
