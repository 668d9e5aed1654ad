"""Active selection: how much an ensemble of reward models disagrees about an item."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.store import Item

Floats = npt.NDArray[np.float64]
MemberScores = Callable[[Sequence[Any], Sequence[str]], Floats]


def preference_spread(scores: npt.ArrayLike) -> float:
    """Spread of the models' opinions on which of K completions is better, in [0, 0.5].

    Mean over pairs i < j of the standard deviation over models m of sigmoid(s_mi - s_mj), the Bradley-Terry
    probability that i is preferred: query by committee (Seung, Opper and Sompolinsky 1992) on the quantity asked for.
    Unchanged by adding a constant to a model's scores.

    Args:
        scores: (M, K), K >= 2.
    """
    values = np.asarray(scores, dtype=np.float64)
    first, second = np.triu_indices(values.shape[1], 1)
    # Half of tanh of half: the sigmoid, which does not overflow.
    probabilities = 0.5 + 0.5 * np.tanh(0.5 * (values[:, first] - values[:, second]))
    return float(probabilities.std(axis=0).mean())


def rating_spread(scores: npt.ArrayLike) -> Floats:
    """Standard deviation over models of their standardised scores: (M, N) of N texts -> (N,).

    Reward models have neither a common zero nor a common unit, so each model's scores are first brought to mean 0 and
    standard deviation 1 over the texts.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not values.size:
        return np.empty(0)
    scale = values.std(axis=1, keepdims=True)
    standard = (values - values.mean(axis=1, keepdims=True)) / np.where(scale > 0, scale, 1)
    spread: Floats = standard.std(axis=0)
    return spread


def score_disagreement(items: Mapping[str, Item], member_scores: MemberScores) -> dict[str, float]:
    """Measures how much an ensemble's members disagree about each item, by its id; each text is scored once.

    Args:
        items: by id.
        member_scores: from N prompts and completions to (N, M), M >= 2, as `RewardEnsemble` and `IndependentEnsemble`
            have it.

    Returns:
        By id, `preference_spread` of a pair or ranking, and `rating_spread` of a rating; InputError for one model.
    """
    texts = [(item.prompt, text) for item in items.values() for text in item.completions]
    distinct = {repr(text): text for text in texts}
    prompts, completions = zip(*distinct.values(), strict=True) if distinct else ((), ())
    scores = np.asarray(member_scores(list(prompts), list(completions))).T
    if len(scores) < 2:
        raise InputError(f"disagreement needs two reward models or more, got {len(scores)}")
    column = {text: number for number, text in enumerate(distinct)}
    columns = {id: [column[repr((item.prompt, text))] for text in item.completions] for id, item in items.items()}
    ratings = [id for id, item in items.items() if item.task == "rating"]
    rating_spreads = rating_spread(scores[:, [columns[id][0] for id in ratings]])
    spreads = {id: float(spread) for id, spread in zip(ratings, rating_spreads, strict=True)}
    return {id: spreads[id] if id in spreads else preference_spread(scores[:, columns[id]]) for id in items}
