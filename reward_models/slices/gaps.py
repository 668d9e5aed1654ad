"""What a reward model does to slices of prompts: how often it orders their pairs right, and how high it scores them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textrl_env.reward_models.measuring import ordered_right, score_pairs
from textrl_env.reward_models.model import RewardModel
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.slices.tables import Slices, SliceTable, numbered, slice_means


@dataclass(frozen=True)
class SliceGaps:
    """Of each slice, with the largest gap.

    Attributes:
        accuracy: share of its pairs that are ordered as preferred.
        reward: mean score of its completions. Comparisons within a prompt leave open how high one prompt's completions
            score beside another's, so a gap need not be a fault; but means over prompts depend on it.
    """

    accuracy: SliceTable
    reward: SliceTable


def slice_gaps(
    reward_model: RewardModel,
    preferences: Sequence[Preference],
    slices: Slices,
    *,
    rng: np.random.Generator,
    resamples: int = 2000,
) -> SliceGaps:
    """Of held-out preferences, N of them and as many in `slices`; intervals are by the bootstrap over prompts."""
    pairs = score_pairs(reward_model, preferences)
    n_pairs = [len(preference.pair_probabilities) for preference in preferences]
    n_texts = [len(preference.ranking) for preference in preferences]
    scores = reward_model.score(
        [preference.prompt for preference in preferences for _ in preference.ranking],
        [text for preference in preferences for text in preference.ranking],
    )
    cluster = numbered([preference.prompt for preference in preferences])
    return SliceGaps(
        slice_means(
            ordered_right(pairs), slices.repeated(n_pairs), np.repeat(cluster, n_pairs), rng=rng, resamples=resamples
        ),
        slice_means(scores, slices.repeated(n_texts), np.repeat(cluster, n_texts), rng=rng, resamples=resamples),
    )
