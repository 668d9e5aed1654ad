"""Write the report: run directory in, `report.html` out."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from textrl_env.data.text import printable
from textrl_env.report import figures
from textrl_env.report.completions import choose
from textrl_env.report.curves import against, curve, window
from textrl_env.report.drawing import NARROW
from textrl_env.report.figures import Panel
from textrl_env.report.findings import duration, hacking_note, percent, shown, signed, verdict
from textrl_env.report.run_files import Run, number, points, read_run
from textrl_env.report.templates import environment

UPDATE, KL = "time/iterations", "objective/kl"
STAGES = {
    "tokenizer": "Tokenizer",
    "sft": "SFT",
    "preferences": "Preferences",
    "reward_model": "Reward model",
    "ppo": "PPO",
    "evaluation": "Evaluation",
}
TRACES = (
    ("kl", KL, "KL from the reference (nats)"),
    ("entropy", "objective/entropy", "Entropy (nats)"),
    ("length", "rollout/ep_len_mean", "Length (tokens)"),
)
HEALTH = (
    ("approx_kl", "train/approx_kl", "Approximate KL per update"),
    ("clip_fraction", "train/clip_fraction", "Clip fraction"),
    ("explained_variance", "train/explained_variance", "Explained variance"),
    ("value_loss", "train/value_loss", "Value loss"),
    ("policy_gradient_loss", "train/policy_gradient_loss", "Policy-gradient loss"),
    ("rlhf_reward", "objective/rlhf_reward", "Score minus KL penalty"),
)


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    note: str = ""
    colour: str = "ink"


def write_report(run_dir: Path) -> Path:
    """Read the run directory and write `run_dir/report.html`, one file that needs no network, font or script.

    Raises:
        InputError: a required file is missing, or a file is malformed; names the file, the row and what to run.
    """
    run = read_run(Path(run_dir))
    page = environment().get_template("template.html").render(_content(run))
    path = run.folder / "report.html"
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def learning_curve(run_dir: Path, out: Path) -> Path:
    """Write the run's learning curve (proxy and gold; KL) as a PNG 1200 pixels wide."""
    rows = read_run(Path(run_dir)).ppo
    png = figures.learning_curve_png(*(curve(rows, k, UPDATE) for k in ("objective/scores", "objective/gold", KL)))
    out = Path(out)
    out.write_bytes(png)
    return out


def _content(run: Run) -> dict[str, Any]:
    proxy, gold = (curve(run.ppo, k, UPDATE) for k in ("objective/scores", "objective/gold"))
    return {
        "title": printable(str(run.manifest.get("title") or "RLHF run")),
        "world": printable(str(run.manifest.get("world") or "")),
        "verdict": verdict(run),
        "tiles": list(_tiles(run)),
        "figures": {name: Markup(svg) for name, svg in _figures(run)},
        "hacking_note": hacking_note(proxy, gold),
        "has_gold": len(gold) > 0,
        "window": window(max(len(proxy), 1)),
        "comparison": list(_comparison(run)),
        "choice": choose(run.completions),
        **{k: _reward_model_number(run, k) for k in ("ece", "n_pairs")},
        "stages": _stages(run),
        "command": run.manifest["command"],
        "versions": run.manifest.get("versions") or {},
        "config": _config(run.manifest.get("config") or {}),
        "summary": [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in sorted(run.summary.items())],
    }


def _tiles(run: Run) -> Iterator[Tile]:
    for kind in ("gold", "proxy"):
        win, low, high = (run.number(f"{kind}_win_rate{k}") for k in ("", "_low", "_high"))
        if win is not None:
            note = f"PPO against SFT by the {kind}"
            if low is not None and high is not None:
                note += f", 95% interval {percent(low)} to {percent(high)}"
            yield Tile(f"{kind} win rate".capitalize(), percent(win), note, kind)
        sft, ppo = run.number(f"{kind}_sft"), run.number(f"{kind}_ppo")
        if sft is not None and ppo is not None:
            yield Tile(f"Mean {kind} score", f"{shown(sft, ppo)} → {shown(ppo, sft)}", "SFT → PPO", kind)
    kl, accuracy, ceiling = run.number("kl"), run.number("rm_accuracy"), run.number("rm_ceiling")
    if kl is not None:
        low, high = run.number("kl_low"), run.number("kl_high")
        interval = "" if low is None or high is None else f", 95% interval {shown(low)} to {shown(high)}"
        yield Tile("KL from the reference", shown(kl), f"nats{interval}", "ppo")
    if accuracy is not None:
        note = "on held-out pairs" if ceiling is None else f"on held-out pairs; the ceiling is {percent(ceiling)}"
        yield Tile("Reward-model accuracy", percent(accuracy), note, "proxy")
    sft, ppo = run.number("length_sft"), run.number("length_ppo")
    if sft is not None and ppo is not None:
        yield Tile("Mean length", f"{shown(sft, ppo)} → {shown(ppo, sft)}", "tokens, SFT → PPO", "ppo")
    seconds, seed = run.number("seconds"), run.number("seed")
    if seconds is not None:
        yield Tile("Time, start to end", duration(seconds), "" if seed is None else f"seed {seed:.0f}")


def _comparison(run: Run) -> Iterator[tuple[str, Sequence[tuple[str, str]], str]]:
    """Rows of the table SFT against PPO: name, then value and interval of each, then the change."""
    names = (("gold", "Gold score"), ("proxy", "Proxy score"), ("length", "Length (tokens)"))
    for key, name in (*names, ("distinct_1", "Distinct words"), ("distinct_2", "Distinct word pairs")):
        sft, ppo = run.number(f"{key}_sft"), run.number(f"{key}_ppo")
        cells = []
        for value, side in ((sft, "sft"), (ppo, "ppo")):
            low, high = run.number(f"{key}_{side}_low"), run.number(f"{key}_{side}_high")
            interval = "" if low is None or high is None else f"{shown(low, high)} to {shown(high, low)}"
            cells.append(("not measured" if value is None else shown(value), interval))
        if sft is not None or ppo is not None:
            change = "" if sft is None or ppo is None else signed(ppo - sft)
            yield name, cells, change


def _figures(run: Run) -> Iterator[tuple[str, str]]:
    """Name and SVG of every figure that this run has data for."""
    kinds = (
        ("Proxy score (reward model)", "objective/scores", "proxy"),
        ("Gold score (truth)", "objective/gold", "gold"),
    )
    panels = [Panel(title, curve(run.ppo, key, UPDATE), colour) for title, key, colour in kinds]
    if panels := [p for p in panels if len(p.curve)]:
        yield "scores_by_update", figures.over_updates("scores_by_update", panels)
    panels = [Panel(title, against(run.ppo, key, KL), colour) for title, key, colour in kinds]
    if panels := [p for p in panels if len(p.curve)]:
        yield "scores_by_kl", figures.over_kl("scores_by_kl", panels)
    for name, key, title in (*TRACES, *HEALTH):
        if len(trace := curve(run.ppo, key, UPDATE)):
            yield name, figures.over_updates(name, [Panel(title, trace, "ppo")], width=NARROW)
    train, heldout = curve(run.sft, "loss", "step"), curve(run.sft, "heldout_loss", "step")
    if len(train) or len(heldout):
        yield "sft_loss", figures.losses("sft_loss", "SFT loss (nats per token)", train, heldout, "sft")
    if run.reward_model is not None:
        yield from _reward_model_figures(run, run.reward_model)
    matches = [re.fullmatch(r"gold_(.+)_sft", key) for key in run.summary]
    terms = [m[1] for m in matches if m is not None and f"gold_{m[1]}_ppo" in run.summary]
    sft, ppo = ([run.number(f"gold_{t}_{side}") or 0.0 for t in terms] for side in ("sft", "ppo"))
    if terms:
        yield "gold_components", figures.component_bars("gold_components", [printable(t) for t in terms], sft, ppo)


def _reward_model_figures(run: Run, metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    where = str(run.folder / "reward_model" / "metrics.json")
    if (value := number(metrics, "accuracy", where)) is not None:
        yield "rm_accuracy", figures.accuracy("rm_accuracy", value, number(metrics, "ceiling", where))
    bins = points(metrics, "calibration", ("predicted", "observed", "count"), where)
    if bins := [b for b in bins if b["count"] > 0]:
        yield "rm_reliability", figures.reliability("rm_reliability", bins)
    margins = points(metrics, "accuracy_by_margin", ("margin_low", "accuracy", "count"), where, ("margin_high",))
    if margins := [m for m in margins if m["count"] > 0]:
        yield "rm_margin", figures.accuracy_by_margin("rm_margin", margins)
    if loss := points(metrics, "loss_curve", ("step", "loss"), where):
        train, none = curve(loss, "loss", "step"), curve([], "loss", "step")
        yield "rm_loss", figures.losses("rm_loss", "Reward-model loss (nats per pair)", train, none, "proxy")


def _reward_model_number(run: Run, key: str) -> float | None:
    where = str(run.folder / "reward_model" / "metrics.json")
    return None if run.reward_model is None else number(run.reward_model, key, where)


def _stages(run: Run) -> list[tuple[str, str, float]]:
    """Name, time and share of the longest, for every stage that was timed, in the order of the pipeline."""
    found = {k.removeprefix("seconds_"): run.number(k) or 0.0 for k in run.summary if k.startswith("seconds_")}
    order = [s for s in STAGES if s in found] + sorted(set(found) - set(STAGES))
    longest = max([1e-9, *found.values()])
    return [
        (printable(STAGES.get(s, s.replace("_", " "))), duration(found[s]), round(100 * found[s] / longest, 1))
        for s in order
    ]


def _config(config: Mapping[str, Any]) -> list[tuple[str, Sequence[tuple[str, str]]]]:
    """The nested config as (section, rows): loose options first, then a section per object, dots for what is deeper."""
    loose = [(k, json.dumps(v, ensure_ascii=False)) for k, v in config.items() if not isinstance(v, dict)]
    sections: list[tuple[str, Sequence[tuple[str, str]]]] = [
        (k, list(_flat(v, ""))) for k, v in config.items() if isinstance(v, dict)
    ]
    return ([("run", loose)] if loose else []) + sections


def _flat(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)
