"""Bars for the shares of the gap that are closed: promises, and whether they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

OURS = ("ours", "ours, shared trunk")
PEERS = ("trl", "sb3")
AHEAD_UNTIL = 3
"""Marks at which ours has to be at or above the better of the peers."""
END, LOWEST, TIMES_FASTER = 0.95, 0.85, 5.0


@dataclass(frozen=True)
class Bar:
    """A promise and its measurement."""

    promise: str
    found: str
    holds: bool


@dataclass(frozen=True)
class Runs:
    """The runs of a variant: shares that are closed at each mark, and the median of processor seconds until then."""

    fractions: npt.NDArray[np.float64]
    """(seeds, marks)."""
    seconds: npt.NDArray[np.float64]
    """(marks,)."""

    @property
    def means(self) -> npt.NDArray[np.float64]:
        """The mean over the seeds, (marks,)."""
        return self.fractions.mean(axis=0)


def judge(runs: Sequence[dict[str, Any]], marks: Sequence[int]) -> list[Bar]:
    """Checks every promise whose variants were measured."""
    variants = {run["variant"] for run in runs}
    by_variant = {name: _runs(runs, name) for name in (*OURS, *PEERS) if name in variants}
    ours = {name: by_variant[name] for name in OURS if name in by_variant}
    peers = {name: by_variant[name] for name in PEERS if name in by_variant}
    return [
        *(
            bar
            for name, own_runs in ours.items()
            for bar in (*_ahead(name, own_runs, peers, marks), *_end(name, own_runs, marks))
        ),
        *(
            _faster(f"{name}: what {peer} has", own_runs, peer_runs, marks)
            for name, own_runs in ours.items()
            for peer, peer_runs in peers.items()
        ),
        *_never_above_one(by_variant),
    ]


def _runs(runs: Sequence[dict[str, Any]], variant: str) -> Runs:
    rows = [run for run in runs if run["variant"] == variant]
    seconds = np.median([row["cpu_seconds"] for row in rows], axis=0)
    return Runs(np.array([row["fractions"] for row in rows]), seconds)


def _ahead(name: str, runs: Runs, peers: dict[str, Runs], marks: Sequence[int]) -> list[Bar]:
    if not peers:
        return []
    best = np.max([peer.means for peer in peers.values()], axis=0)
    return [
        Bar(f"{name}, {mark:,}: at or above the better peer", f"{mean:.3f}, {peer_mean:.3f}", bool(mean >= peer_mean))
        for mark, mean, peer_mean in zip(marks[:AHEAD_UNTIL], runs.means, best, strict=False)
    ]


def _end(name: str, runs: Runs, marks: Sequence[int]) -> list[Bar]:
    mean, low = runs.means[-1], runs.fractions[:, -1].min()
    promise = f"{name}, {marks[-1]:,}: at least {END}, no seed below {LOWEST}"
    return [Bar(promise, f"{mean:.3f}, lowest {low:.3f}", bool(mean >= END and low >= LOWEST))]


def _faster(promise: str, runs: Runs, peer: Runs, marks: Sequence[int]) -> Bar:
    """Compares the seconds of a peer at each mark with ours until the first mark of ours that is at or above it."""
    ratios, texts = [], []
    for mark, mean, seconds in zip(marks, peer.means, peer.seconds, strict=True):
        later = np.flatnonzero(runs.means >= mean)
        ratio = float(seconds / runs.seconds[later[0]]) if len(later) else None
        ratios.append(ratio)
        texts.append(f"{mark:,}: {'not reached' if ratio is None else f'{ratio:.1f}'}")
    promise = f"{promise} at a mark, in {TIMES_FASTER:g} times fewer CPU seconds"
    return Bar(promise, ", ".join(texts), all(ratio is not None and ratio >= TIMES_FASTER for ratio in ratios))


def _never_above_one(by_variant: dict[str, Runs]) -> list[Bar]:
    if not by_variant:
        return []
    most = max(runs.fractions.max() for runs in by_variant.values())
    return [Bar("no run above 1", f"{most:.3f}", bool(most <= 1))]


def table(bars: Sequence[Bar]) -> Table:
    """Makes a table with a row for each promise."""
    bar_table = Table("promise", "found", "", title="bars", title_justify="left")
    for bar in bars:
        bar_table.add_row(bar.promise, bar.found, "[green]holds[/green]" if bar.holds else "[red]falls short[/red]")
    return bar_table
