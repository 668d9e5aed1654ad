"""Weights and samples that make slices count alike, up to a cap."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from textrl_env.errors import InputError
from textrl_env.reward_models.slices import SliceIndex, balanced_rows, balancing_weights

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def sliced(sizes: list[int]) -> SliceIndex:
    return SliceIndex(
        tuple(map(str, range(len(sizes)))),
        np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)),
    )


@given(SIZES)
def test_without_a_cap_every_slice_weighs_the_same(sizes: list[int]) -> None:
    slices = sliced(sizes)
    weights = balancing_weights(slices, cap=1e9)
    assert weights.mean() == pytest.approx(1)
    assert np.bincount(slices.index, weights) == pytest.approx(len(weights) / len(sizes))


@given(SIZES, st.floats(1, 20))
def test_a_cap_bounds_the_weights_and_keeps_their_order(sizes: list[int], cap: float) -> None:
    slices = sliced(sizes)
    weights = balancing_weights(slices, cap=cap)
    assert weights.mean() == pytest.approx(1) and weights.max() <= cap * weights.min() * (1 + 1e-9)
    order = np.argsort(slices.counts[slices.index])
    assert (np.diff(weights[order]) <= 1e-12).all()


@given(SIZES, st.floats(1, 20))
def test_a_balanced_sample_has_the_shares_that_the_weights_give(sizes: list[int], cap: float) -> None:
    slices = sliced(sizes)
    rows = list(range(len(slices.index)))
    drawn = balanced_rows(rows, slices, cap=cap, rng=np.random.default_rng(1))
    assert len(drawn) == len(rows)
    wanted = np.bincount(slices.index, balancing_weights(slices, cap=cap))
    assert (np.abs(np.bincount(slices.index[drawn], minlength=len(sizes)) - wanted) <= 1).all()
    times = Counter(drawn)
    for number in range(len(sizes)):
        of_slice = [times[row] for row in rows if slices.index[row] == number]
        assert max(of_slice) - min(of_slice) <= 1


def test_a_seed_fixes_the_sample_and_a_cap_below_one_is_refused() -> None:
    slices = sliced([50, 3])
    first, second, other = (balanced_rows(range(53), slices, rng=np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == second != other
    assert balanced_rows(range(53), slices, cap=1, rng=np.random.default_rng(0)) != list(range(53))
    with pytest.raises(InputError, match="cap must be at least 1"):
        balancing_weights(slices, cap=0.5)
