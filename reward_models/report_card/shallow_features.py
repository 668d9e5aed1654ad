"""Features that say nothing of a text's meaning, such as its length, and how much of a reward model they explain."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from textrl_env.reward_models.feedback.simulated_raters import sigmoid, word_counts
from textrl_env.reward_models.measuring import accuracy
from textrl_env.reward_models.report_card.rank_correlation import centre_groups, partial_spearman, residual, spearman
from textrl_env.reward_models.report_card.scores import Floats, Ints, ScoredPairs
from textrl_env.reward_models.report_card.uncertainty import fit_factor
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean

_WORD = re.compile(r"\w+(?:'\w+)?")
_MARK = re.compile(r"[^\w\s]")


def _split(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _repetition(words: Sequence[str]) -> float:
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def _overlap(prompt: str, words: Sequence[str]) -> float:
    return float(np.mean(np.isin(words, _split(prompt)))) if words else 0.0


def compute_features(prompts: Sequence[str], completions: Sequence[str]) -> dict[str, Floats]:
    """Computes the shallow features of each completion, by name: (B,).

    `words`, `characters` and `punctuation` (marks) are counts; `repetition` is the share of word pairs that came
    before, `variety` the type-token ratio (different words over words), `prompt overlap` the share of words that the
    prompt has too.
    """
    texts = [_split(text) for text in completions]
    columns: dict[str, Sequence[float] | Floats] = {
        "words": word_counts(completions),
        "characters": [len(text) for text in completions],
        "punctuation": [len(_MARK.findall(text)) for text in completions],
        "repetition": [_repetition(words) for words in texts],
        "variety": [len(set(words)) / len(words) if words else 0.0 for words in texts],
        "prompt overlap": [_overlap(*pair) for pair in zip(prompts, texts, strict=True)],
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
class ShallowShare:
    """The share of a model that shallow features explain."""

    features: tuple[FeatureLine, ...]
    explained: float
    """R² of the regression of the score on the features and their squares, within prompts."""
    accuracy: float
    left: Estimate
    """Accuracy of the residual of that regression."""
    share_left: Estimate
    """(left - 1/2) / (accuracy - 1/2); NaN where the accuracy is not above 1/2."""
    matched: Estimate
    """Accuracy on pairs of nearly the same number of words, within a tenth."""
    n_matched: int

    @property
    def most_tilted(self) -> FeatureLine | None:
        """The feature with the largest tilt; None where all features are constant."""
        lines = [line for line in self.features if not np.isnan(line.tilt.value)]
        return max(lines, key=lambda line: abs(line.tilt.value), default=None)


def measure_shallow_share(pairs: ScoredPairs, *, rng: np.random.Generator) -> ShallowShare:
    """Measures correlations, tilts, and the accuracy that the score has beyond the features."""
    features = compute_features(list(map(str, pairs.prompts)), pairs.completions)
    group = pairs.prompt_of_text
    score = centre_groups(pairs.scores, group)
    columns = centre_groups(np.stack(list(features.values()), axis=1), group)
    # (M,) the probability that the first is preferred, once the scores have the right scale.
    probabilities = sigmoid(fit_factor(pairs.pair_scores()) * pairs.differences(pairs.scores))
    lines = []
    for number, (name, values) in enumerate(features.items()):
        people, model, tilt = _measure_tilt(pairs, pairs.differences(values), probabilities, rng=rng)
        line = FeatureLine(
            name=name,
            correlation=spearman(score, columns[:, number]),
            partial=partial_spearman(score, columns[:, number], np.delete(columns, number, axis=1)),
            people=people,
            model=model,
            tilt=tilt,
        )
        lines.append(line)
    rest = residual(score, _add_squares(columns))
    variance = float(score @ score)
    words = features["words"]
    gap, size = np.abs(pairs.differences(words)), words[pairs.better] + words[pairs.worse]
    matches = np.flatnonzero(gap <= 0.1 * size / 2)
    return ShallowShare(
        features=tuple(lines),
        explained=1 - float(rest @ rest) / variance if variance else 0.0,
        accuracy=accuracy(pairs.pair_scores()),
        left=estimate_mean(pairs.right(rest), pairs.cluster, rng=rng),
        share_left=_estimate_share_left(pairs.right(rest), pairs.right(), pairs.cluster, rng),
        matched=estimate_mean(pairs.right()[matches], pairs.cluster[matches], rng=rng),
        n_matched=len(matches),
    )


def _measure_tilt(
    pairs: ScoredPairs, differences: Floats, probabilities: Floats, *, rng: np.random.Generator
) -> tuple[Estimate, float, Estimate]:
    """Returns how often people and the model prefer the text with more of a feature, and by how much the model more.

    Args:
        pairs: all M pairs.
        differences: (M,) of the feature, first minus second.
        probabilities: (M,) of the model, that the first is preferred.
        rng: of the bootstrap.
    """
    rows = np.flatnonzero(differences)
    sign = np.sign(differences[rows])
    people = 0.5 + sign * (pairs.probabilities[rows] - 0.5)
    model = 0.5 + sign * (probabilities[rows] - 0.5)
    cluster = pairs.cluster[rows]
    share = estimate_mean(people, cluster, rng=rng)
    tilt = estimate_mean(model - people, cluster, rng=rng)
    return share, float(model.mean()) if len(model) else float("nan"), tilt


def _add_squares(columns: Floats) -> Floats:
    """Returns features of spread 1 and their squares, so that a score which levels off with length is found as well."""
    spread = columns.std(axis=0)
    features = columns / np.where(spread > 0, spread, 1)
    return np.column_stack([features, features**2])


def _estimate_share_left(rest: Floats, right: Floats, cluster: Ints, rng: np.random.Generator) -> Estimate:
    """Estimates the ratio of how far the means of two arrays (M,) lie above 1/2."""

    def share(rows: Ints) -> float:
        whole = float(right[rows].mean()) - 0.5
        return (float(rest[rows].mean()) - 0.5) / whole if whole > 0 else float("nan")

    return bootstrap_estimate(share, cluster, rng=rng, resamples=500)
