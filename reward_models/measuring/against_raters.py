"""Judges of texts against people: how often a judge orders held-out pairs as most raters do, beside the raters' own."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from textrl_env.reward_models.measuring.ratings import Rated, human_ceiling, pair_accuracy, pairs_from_ratings

ScoreTexts = Callable[[list[str]], Sequence[float] | npt.NDArray[np.float64]]


def accuracy_against_raters(
    judges: Mapping[str, ScoreTexts],
    heldout: Sequence[Rated],
    *,
    rng: np.random.Generator,
    n_pairs: int = 10_000,
    gaps: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """`JUDGE_accuracy_GAP` of every judge and `human_ceiling_GAP`, on the same random pairs of held-out texts.

    Args:
        judges: by name, a function from texts to scores; each reads every text once.
        heldout: rated texts that no judge was trained on.
        rng: of the pairs.
        n_pairs: pairs per gap, or all where there are fewer texts' pairs than that.
        gaps: least differences of the two means by name; default `any` (0) and `half` (0.5 points).
    """
    ids, texts = [item.id for item in heldout], [item.text for item in heldout]
    scores = {name: dict(zip(ids, map(float, judge(texts)), strict=True)) for name, judge in judges.items()}
    result: dict[str, float] = {}
    for gap, least in (gaps or {"any": 0.0, "half": 0.5}).items():
        means = np.array([sum(item.ratings) / len(item.ratings) for item in heldout])
        apart = np.abs(means[:, None] - means[None, :]) >= max(least, 1e-9)
        pairs = pairs_from_ratings(heldout, n_pairs=min(n_pairs, int(apart.sum()) // 2), min_gap=least, rng=rng)
        result |= {f"{name}_accuracy_{gap}": pair_accuracy(by_id, pairs) for name, by_id in scores.items()}
        result[f"human_ceiling_{gap}"] = human_ceiling(heldout, pairs)
    return result
