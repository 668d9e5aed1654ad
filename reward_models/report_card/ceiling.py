"""How accurate any predictor could be, told from pairs that several people judged."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from textrl_env.reward_models.preferences import Preference


@dataclass(frozen=True)
class Ceiling:
    """The best accuracy against these raters.

    Attributes:
        value: in [0.5, 1].
        source: how it is known, in words.
        by_pair: (M,) the same for each pair of the preferences, where it is known so finely.
    """

    value: float
    source: str
    by_pair: npt.NDArray[np.float64] | None = None


def ceiling_from_repeats(preferences: Sequence[Preference], *, least: int = 30) -> Ceiling | None:
    """An upper bound from how often two labels of one pair agree; None with fewer than `least` pairs labelled twice.

    If a share p of people prefer a to b, the best predictor is right with max(p, 1 - p) = (1 + |2p - 1|) / 2, and two
    of them agree with p² + (1 - p)² = (1 + (2p - 1)²) / 2. By Jensen's inequality the mean accuracy of the best
    predictor is at most (1 + √(2A - 1)) / 2, A the mean agreement.
    """
    votes: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
    for preference in preferences:
        for (a, b), probability in zip(combinations(preference.ranking, 2), preference.pair_probabilities, strict=True):
            if probability != 0.5:
                first, second = sorted((a, b))
                votes[preference.prompt, first, second].append((a == first) == (probability > 0.5))
    repeated = [labels for labels in votes.values() if len(labels) > 1]
    if len(repeated) < least:
        return None
    agreement = float(np.mean([np.mean([x == y for x, y in combinations(labels, 2)]) for labels in repeated]))
    value = (1 + math.sqrt(max(0.0, 2 * agreement - 1))) / 2
    return Ceiling(value, f"at most, as two labels of a pair agree in {agreement:.1%} of {len(repeated)} pairs")
