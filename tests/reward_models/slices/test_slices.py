"""SliceIndex: means and shares of each, and the largest gap, whose interval pays for being the largest."""

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.slices import MIN_CLUSTERS, slice_shares, slices_of
from textrl_env.reward_models.slices.grouping import NOTHING, SliceIndex
from textrl_env.reward_models.slices.tables import slice_means

ROWS = [{"kind": "b", "n": 1}, {"kind": "a", "n": 2}, {"kind": None, "n": 3}, {"kind": "b", "n": 4}]


def test_rows_are_grouped_by_a_column_or_a_function() -> None:
    slices = slices_of(ROWS, "kind")
    assert slices.names == (NOTHING, "a", "b") and slices.counts.tolist() == [1, 1, 2]
    assert [slices.names[i] for i in slices.index] == ["b", "a", NOTHING, "b"]
    assert slices_of(ROWS, lambda row: row["n"] > 2).names == ("False", "True")
    assert slices.repeat([2, 0, 1, 1]).counts.tolist() == [1, 0, 3]


def test_what_is_no_grouping_is_refused() -> None:
    with pytest.raises(InputError, match=r"no row has a column 'topic' to slice by \(found: kind, n\)"):
        slices_of(ROWS, "topic")
    with pytest.raises(InputError, match="101 different values"):
        slices_of([{"n": n} for n in range(101)], "n")


def test_intervals_of_independent_units_are_those_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    index = np.repeat([0, 1], [400, 900])
    values = rng.normal(index * 0.5, 2.0)
    table = slice_means(values, SliceIndex(("x", "y"), index), np.arange(1300), rng=rng, resamples=4000)
    for number, line in enumerate(table.lines):
        own = values[index == number]
        error = own.std(ddof=1) / len(own) ** 0.5
        assert line.count == line.n_clusters == len(own)
        assert line.value == pytest.approx(own.mean())
        assert [line.low, line.high] == pytest.approx([line.value - 1.96 * error, line.value + 1.96 * error], abs=0.02)
    assert table.gap is not None and (table.gap.highest, table.gap.lowest) == ("y", "x")
    assert table.gap.value == pytest.approx(table.lines[1].value - table.lines[0].value)


def test_units_of_one_cluster_say_a_thing_once() -> None:
    """Every unit ten times over: the interval stays as it was; drawn one by one it would be a third as wide."""
    rng = np.random.default_rng(1)
    values, index = rng.normal(size=200), np.repeat([0, 1], 100)
    once = slice_means(values, SliceIndex(("x", "y"), index), np.arange(200), rng=np.random.default_rng(2))
    tenfold = SliceIndex(("x", "y"), np.repeat(index, 10))
    together = slice_means(np.repeat(values, 10), tenfold, np.repeat(np.arange(200), 10), rng=np.random.default_rng(2))
    alone = slice_means(np.repeat(values, 10), tenfold, np.arange(2000), rng=np.random.default_rng(2))
    for before, after, wrong in zip(once.lines, together.lines, alone.lines, strict=True):
        assert [after.low, after.high] == pytest.approx([before.low, before.high])
        assert wrong.high - wrong.low < 0.5 * (before.high - before.low)


def test_the_gap_of_equal_slices_holds_zero_and_a_true_one_does_not() -> None:
    rng = np.random.default_rng(3)
    n_slices, per_slice, n_trials = 8, 60, 200
    slices = SliceIndex(tuple("abcdefgh"), np.repeat(np.arange(n_slices), per_slice))
    cluster = np.arange(n_slices * per_slice)
    false_alarms = naive = 0
    for _ in range(n_trials):
        values = rng.random(len(cluster))
        table = slice_means(values, slices, cluster, rng=rng, resamples=400)
        assert table.gap is not None
        false_alarms += table.gap.low > 0
        lines = sorted(table.lines, key=lambda line: line.value)
        naive += lines[-1].value - lines[0].value > 1.96 * (2 / 12 / per_slice) ** 0.5
    assert false_alarms <= 0.1 * n_trials
    assert naive > 0.3 * n_trials, "negative control: as if the two slices had been named beforehand"
    shifted = slice_means(values + 0.4 * (slices.index == 2), slices, cluster, rng=rng).gap
    assert shifted is not None and shifted.highest == "c" and 0 < shifted.low < 0.5 < shifted.high


def test_shares_are_of_all_units_and_small_slices_have_no_interval() -> None:
    index = np.repeat([0, 1, 2], [300, 100, MIN_CLUSTERS - 1])
    slices, cluster = SliceIndex(("x", "y", "z"), index), np.arange(len(index))
    table = slice_shares(slices, cluster, rng=np.random.default_rng(4))
    assert [line.value for line in table.lines] == pytest.approx((slices.counts / len(index)).tolist())
    share = 300 / len(index)
    error = (share * (1 - share) / len(index)) ** 0.5
    assert table.lines[0].low == pytest.approx(share - 1.96 * error, abs=0.01)
    assert np.isnan(table.lines[2].low) and np.isnan(table.lines[2].high)
    assert table.gap is not None and (table.gap.highest, table.gap.lowest) == ("x", "y") and table.gap.low > 0
    assert slice_shares(SliceIndex(("x",), index * 0), cluster, rng=np.random.default_rng(4)).gap is None


def test_a_seed_fixes_the_intervals_and_large_data_comes_in_blocks() -> None:
    index = np.arange(30_000) % 3
    slices, cluster = SliceIndex(("x", "y", "z"), index), np.arange(30_000) // 2
    values = np.random.default_rng(5).normal(size=30_000)
    first, second = (slice_means(values, slices, cluster, rng=np.random.default_rng(6)) for _ in range(2))
    assert first == second
    width = first.lines[0].high - first.lines[0].low
    assert width == pytest.approx(2 * 1.96 / 10_000**0.5, rel=0.1)
