"""One score from an ensemble's many: lower where they disagree, which is where a policy finds errors to exploit."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError, require_at_least

Floats = npt.NDArray[np.float64]
Pessimism = float | Literal["minimum"]
"""k of mean - k · std, or the lowest member's score."""


def conservative_scores(member_scores: Floats, pessimism: Pessimism) -> Floats:
    """Mean - k · std over the members, or their minimum: (B, K) -> (B,).

    Coste et al. 2023, section 3: the minimum is their worst-case optimisation; their uncertainty-weighted one subtracts
    the members' variance, here it is the standard deviation (over K, not K - 1), which has the score's unit.
    """
    if pessimism == "minimum":
        lowest: Floats = member_scores.min(axis=1)
        return lowest
    scores: Floats = member_scores.mean(axis=1) - pessimism * member_scores.std(axis=1)
    return scores


def checked_pessimism(pessimism: Pessimism) -> Pessimism:
    """The value itself; InputError unless it is 0 or more, or "minimum"."""
    if isinstance(pessimism, str):
        if pessimism != "minimum":
            raise InputError(f"pessimism must be a number or 'minimum', got {pessimism!r}")
    else:
        require_at_least(0, pessimism=pessimism)
    return pessimism
