"""Medians, ratios and what they say about the bars, as tables for the terminal."""

from statistics import median
from typing import Any

from iteration.variants import BARS, LEGEND, VARIANTS, Bar
from rich.console import Console
from rich.table import Table

Turn = dict[str, Any]
ByVariant = dict[str, dict[str, list[Turn]]]
"""Variant -> number of threads -> its turns."""
Samples = dict[str, ByVariant]
"""By size."""


def measure(threads: str) -> str:
    """What counts: processor seconds with one thread, which other work on the machine changes least, else wall."""
    return "cpu" if threads == "1" else "wall"


def seconds(turns: list[Turn], threads: str, phase: str | None = None) -> float:
    """The median of an iteration, or of one of its phases."""
    parts = turns if phase is None else [turn["phases"][phase] for turn in turns]
    return median(part[measure(threads)] for part in parts)


def judge(samples: Samples) -> list[dict[str, Any]]:
    """Every bar whose two variants were measured, by number of threads, with the ratio of the medians."""
    rows = []
    for bar in BARS:
        slower, faster = (samples.get(bar.size, {}).get(name, {}) for name in (bar.slower, bar.faster))
        for threads in sorted(set(slower) & set(faster)):
            ratio = seconds(slower[threads], threads, bar.phase) / seconds(faster[threads], threads, bar.phase)
            rows.append(_verdict(bar, threads, ratio))
    return rows


def _verdict(bar: Bar, threads: str, ratio: float) -> dict[str, Any]:
    return {
        "size": bar.size,
        "ratio of": str(bar),
        "threads": int(threads),
        "measure": measure(threads),
        "ratio": ratio,
        "bar": f"{bar.kind} {bar.factor:g}",
        "holds": bar.holds(ratio),
    }


def show(samples: Samples, failures: dict[str, dict[str, str]]) -> None:
    """Prints a table of the variants for every size, and the bars with what was found."""
    console = Console()
    for size, variants in samples.items():
        console.print(_variants(size, variants))
        for name, reason in failures.get(size, {}).items():
            console.print(f"[red]{name}: could not run:[/red] {reason}")
    console.print(LEGEND)
    console.print(_bars(judge(samples)))


def _variants(size: str, variants: dict[str, dict[str, list[Turn]]]) -> Table:
    counts = sorted({threads for by_threads in variants.values() for threads in by_threads})
    table = Table(title=f"one iteration at size {size}", title_justify="left")
    for heading in ("", "networks", "precision"):
        table.add_column(heading)
    for threads in counts:
        table.add_column(f"{measure(threads)} s ({threads} thr.)", justify="right")
        table.add_column("x ours", justify="right")
    for name, by_threads in variants.items():
        cells = []
        for threads in counts:
            seconds_here = seconds(by_threads[threads], threads)
            baseline = variants.get("ours", {}).get(threads)
            cells += [f"{seconds_here:.3g}", f"{seconds_here / seconds(baseline, threads):.2f}" if baseline else ""]
        table.add_row(name, VARIANTS[name].nets, VARIANTS[name].precision, *cells)
    return table


def _bars(verdicts: list[dict[str, Any]]) -> Table:
    table = Table(title="bars", title_justify="left")
    for heading in ("size", "ratio of", "threads", "measure", "ratio", "bar", ""):
        table.add_column(heading)
    for row in verdicts:
        mark = "[green]holds[/green]" if row["holds"] else "[red]falls short[/red]"
        table.add_row(
            row["size"], row["ratio of"], str(row["threads"]), row["measure"], f"{row['ratio']:.2f}", row["bar"], mark
        )
    return table
