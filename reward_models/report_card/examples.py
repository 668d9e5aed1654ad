"""Texts to read: where the model is surest and wrong, and what it likes best."""

from typing import Any

import numpy as np

from textrl_env.reward_models.report_card.samples import Samples
from textrl_env.reward_models.report_card.scored import Floats, ScoredPairs


def mistakes(pairs: ScoredPairs, n: int = 5) -> list[dict[str, Any]]:
    """The n pairs with the largest difference in score against the label, one of each prompt."""
    differences = pairs.differences(pairs.scores) * np.sign(pairs.probabilities - 0.5)
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    for row in np.argsort(differences, kind="stable"):
        if differences[row] >= 0 or len(found) == n:
            break
        better, worse = int(pairs.better[row]), int(pairs.worse[row])
        if pairs.probabilities[row] < 0.5:
            better, worse = worse, better
        prompt = int(pairs.prompt_of_text[better])
        if prompt not in seen:
            seen.add(prompt)
            found.append({
                "prompt": pairs.prompts[better],
                "preferred": pairs.completions[better], "preferred_score": float(pairs.scores[better]),
                "other": pairs.completions[worse], "other_score": float(pairs.scores[worse]),
            })  # fmt: skip
    return found


def favourites(pool: Samples, n: int = 5) -> list[dict[str, Any]]:
    """Of the highest-scoring completion of each prompt, the n whose score is farthest above their gold, each in its
    standard deviations; the n highest scores where gold is not known.
    """
    rows = np.arange(len(pool.prompts))
    best = pool.scores.argmax(axis=1)
    excess = pool.scores[rows, best]
    if pool.gold is not None:
        excess = _standard(pool.scores)[rows, best] - _standard(pool.gold)[rows, best]
    return [
        {
            "prompt": pool.prompts[row], "completion": pool.completions[row][best[row]],
            "score": float(pool.scores[row, best[row]]),
            "gold": None if pool.gold is None else float(pool.gold[row, best[row]]),
        }
        for row in np.argsort(-excess, kind="stable")[:n].tolist()
    ]  # fmt: skip


def _standard(values: Floats) -> Floats:
    spread = values.std()
    standard: Floats = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return standard
