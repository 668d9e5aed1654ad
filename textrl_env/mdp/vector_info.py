"""Gymnasium's `info` of a vector environment: a dict of arrays over slots, each with a `_key` mask of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def mask_info(arrays: Mapping[str, Array], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Copies the arrays, each with Gymnasium's `_key` mask of the slots it speaks of, 0 or None elsewhere."""
    info: dict[str, Any] = {}
    all_slots = bool(mask.all())
    for key, values in arrays.items():
        info[f"_{key}"] = mask.copy()
        if all_slots:
            info[key] = values.copy()
        else:
            empty: Any = None if values.dtype == object else np.zeros((), dtype=values.dtype)
            info[key] = np.where(_expand(mask, values.ndim), values, empty)
    return info


def merge_info(old: dict[str, Any], new: dict[str, Any], mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Returns slot-wise `new` where `mask`, else `old`, through nested entries."""
    info: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict):
            info[key] = merge_info(old[key], value, mask)
        elif key.startswith("_"):
            info[key] = old[key] | value
        else:
            info[key] = np.where(_expand(mask, value.ndim), value, old[key])
    return info


def _expand(mask: npt.NDArray[np.bool_], ndim: int) -> npt.NDArray[np.bool_]:
    """(N,) as (N, 1, …, 1) with `ndim` axes."""
    return mask.reshape(-1, *[1] * (ndim - 1))
