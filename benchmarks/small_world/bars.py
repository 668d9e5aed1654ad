"""What was promised about the shares of the gap that are closed, and whether it holds."""

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
class Judged:
    """A promise with what was found."""

    promise: str
    found: str
    holds: bool


@dataclass(frozen=True)
class Runs:
    """Of one variant: what is closed at each mark (seeds, marks), and the median of processor seconds until then."""

    fractions: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]

    @property
    def means(self) -> npt.NDArray[np.float64]:
        """(marks,)."""
        return self.fractions.mean(axis=0)


def judge(runs: Sequence[dict[str, Any]], marks: Sequence[int]) -> list[Judged]:
    """Every promise whose variants were measured."""
    found = {each["variant"] for each in runs}
    by_variant = {name: _runs(runs, name) for name in (*OURS, *PEERS) if name in found}
    ours = {name: by_variant[name] for name in OURS if name in by_variant}
    peers = {name: by_variant[name] for name in PEERS if name in by_variant}
    return [
        *(
            each
            for name, mine in ours.items()
            for each in (*_ahead(name, mine, peers, marks), *_end(name, mine, marks))
        ),
        *(_faster(name, mine, peer, theirs, marks) for name, mine in ours.items() for peer, theirs in peers.items()),
        *_never_above_one(by_variant),
    ]


def _runs(runs: Sequence[dict[str, Any]], variant: str) -> Runs:
    mine = [each for each in runs if each["variant"] == variant]
    seconds = np.median([each["cpu_seconds"] for each in mine], axis=0)
    return Runs(np.array([each["fractions"] for each in mine]), seconds)


def _ahead(name: str, mine: Runs, peers: dict[str, Runs], marks: Sequence[int]) -> list[Judged]:
    if not peers:
        return []
    best = np.max([peer.means for peer in peers.values()], axis=0)
    return [
        Judged(f"{name}, {mark:,}: at or above the better peer", f"{own:.3f}, {other:.3f}", bool(own >= other))
        for mark, own, other in zip(marks[:AHEAD_UNTIL], mine.means, best, strict=False)
    ]


def _end(name: str, mine: Runs, marks: Sequence[int]) -> list[Judged]:
    mean, low = mine.means[-1], mine.fractions[:, -1].min()
    promise = f"{name}, {marks[-1]:,}: at least {END}, no seed below {LOWEST}"
    return [Judged(promise, f"{mean:.3f}, lowest {low:.3f}", bool(mean >= END and low >= LOWEST))]


def _faster(name: str, mine: Runs, peer: str, theirs: Runs, marks: Sequence[int]) -> Judged:
    """At each of the peer's marks, its seconds over ours until the first mark of ours that is at or above it."""
    ratios, shown = [], []
    for mark, mean, seconds in zip(marks, theirs.means, theirs.seconds, strict=True):
        reached = np.flatnonzero(mine.means >= mean)
        ratio = float(seconds / mine.seconds[reached[0]]) if len(reached) else None
        ratios.append(ratio)
        shown.append(f"{mark:,}: {'not reached' if ratio is None else f'{ratio:.1f}'}")
    promise = f"{name}: what {peer} has at a mark, in {TIMES_FASTER:g} times fewer CPU seconds"
    return Judged(promise, ", ".join(shown), all(ratio is not None and ratio >= TIMES_FASTER for ratio in ratios))


def _never_above_one(by_variant: dict[str, Runs]) -> list[Judged]:
    if not by_variant:
        return []
    most = max(runs.fractions.max() for runs in by_variant.values())
    return [Judged("no run above 1", f"{most:.3f}", bool(most <= 1))]


def table(judged: Sequence[Judged]) -> Table:
    """A row a promise."""
    shown = Table("promise", "found", "", title="bars", title_justify="left")
    for each in judged:
        shown.add_row(each.promise, each.found, "[green]holds[/green]" if each.holds else "[red]falls short[/red]")
    return shown
