"""The report of a run: run directory in, `report.html` out."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from textrl_env.data.text.display import printable
from textrl_env.files import write_bytes, write_text
from textrl_env.report import run_figures
from textrl_env.report.curves import compute_window, describe_hacking, extract_curve, extract_curve_against
from textrl_env.report.drawing import NARROW
from textrl_env.report.findings import format_difference, format_duration, format_number, format_percent, judge_run
from textrl_env.report.run_figures import Panel
from textrl_env.report.run_files import Run, read_number, read_points, read_run
from textrl_env.report.templates import Tile, choose_completions, load_templates

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


def write_report(run_dir: Path) -> Path:
    """Reads the run directory and writes `run_dir/report.html`, one file that needs no network, font or script.

    Raises:
        InputError: a required file is missing, or a file is malformed; names the file, the row and what to run.
    """
    run = read_run(Path(run_dir))
    page = load_templates().get_template("run_page.html").render(_build_content(run))
    return write_text(run.folder / "report.html", page)


def write_learning_curve(run_dir: Path, out: Path) -> Path:
    """Writes the run's learning curve (proxy and gold; KL) as a PNG 1200 pixels wide."""
    rows = read_run(Path(run_dir)).ppo
    png = run_figures.draw_learning_curve(
        *(extract_curve(rows, k, UPDATE) for k in ("objective/scores", "objective/gold", KL))
    )
    return write_bytes(out, png)


def _build_content(run: Run) -> dict[str, Any]:
    proxy, gold = (extract_curve(run.ppo, k, UPDATE) for k in ("objective/scores", "objective/gold"))
    return {
        "title": printable(str(run.manifest.get("title") or "RLHF run")),
        "world": printable(str(run.manifest.get("world") or "")),
        "verdict": judge_run(run),
        "tiles": list(_build_tiles(run)),
        "figures": {name: Markup(svg) for name, svg in _draw_figures(run)},
        "hacking_note": describe_hacking(proxy, gold),
        "has_gold": len(gold) > 0,
        "window": compute_window(max(len(proxy), 1)),
        "comparison": list(_compare_means(run)),
        "choice": choose_completions(run.completions),
        **{k: _read_reward_model_number(run, k) for k in ("ece", "n_pairs")},
        "stages": _time_stages(run),
        "command": run.manifest["command"],
        "versions": run.manifest.get("versions") or {},
        "config": _list_config(run.manifest.get("config") or {}),
        "summary": [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in sorted(run.summary.items())],
    }


def _build_tiles(run: Run) -> Iterator[Tile]:
    for kind in ("gold", "proxy"):
        win, low, high = (run.number(f"{kind}_win_rate{k}") for k in ("", "_low", "_high"))
        if win is not None:
            note = f"PPO against SFT by the {kind}"
            if low is not None and high is not None:
                note += f", 95% interval {format_percent(low)} to {format_percent(high)}"
            yield Tile(f"{kind} win rate".capitalize(), format_percent(win), note, kind)
        sft, ppo = run.number(f"{kind}_sft"), run.number(f"{kind}_ppo")
        if sft is not None and ppo is not None:
            yield Tile(
                f"Mean {kind} score", f"{format_number(sft, ppo)} → {format_number(ppo, sft)}", "SFT → PPO", kind
            )
    kl, accuracy, ceiling = run.number("kl"), run.number("rm_accuracy"), run.number("rm_ceiling")
    if kl is not None:
        low, high = run.number("kl_low"), run.number("kl_high")
        interval = (
            "" if low is None or high is None else f", 95% interval {format_number(low)} to {format_number(high)}"
        )
        yield Tile("KL from the reference", format_number(kl), f"nats{interval}", "ppo")
    if accuracy is not None:
        note = (
            "on held-out pairs" if ceiling is None else f"on held-out pairs; the ceiling is {format_percent(ceiling)}"
        )
        yield Tile("Reward-model accuracy", format_percent(accuracy), note, "proxy")
    sft, ppo = run.number("length_sft"), run.number("length_ppo")
    if sft is not None and ppo is not None:
        yield Tile("Mean length", f"{format_number(sft, ppo)} → {format_number(ppo, sft)}", "tokens, SFT → PPO", "ppo")
    seconds, seed = run.number("seconds"), run.number("seed")
    if seconds is not None:
        yield Tile("Time, start to end", format_duration(seconds), "" if seed is None else f"seed {seed:.0f}")


def _compare_means(run: Run) -> Iterator[tuple[str, Sequence[tuple[str, str]], str]]:
    """Yields rows of the table SFT against PPO: name, then value and interval of each, then the change."""
    names = (("gold", "Gold score"), ("proxy", "Proxy score"), ("length", "Length (tokens)"))
    for key, name in (*names, ("distinct_1", "Distinct words"), ("distinct_2", "Distinct word pairs")):
        sft, ppo = run.number(f"{key}_sft"), run.number(f"{key}_ppo")
        cells = []
        for value, side in ((sft, "sft"), (ppo, "ppo")):
            low, high = run.number(f"{key}_{side}_low"), run.number(f"{key}_{side}_high")
            interval = (
                "" if low is None or high is None else f"{format_number(low, high)} to {format_number(high, low)}"
            )
            cells.append(("not measured" if value is None else format_number(value), interval))
        if sft is not None or ppo is not None:
            change = "" if sft is None or ppo is None else format_difference(ppo - sft)
            yield name, cells, change


def _draw_figures(run: Run) -> Iterator[tuple[str, str]]:
    """Yields name and SVG of every figure that this run has data for."""
    kinds = (
        ("Proxy score (reward model)", "objective/scores", "proxy"),
        ("Gold score (truth)", "objective/gold", "gold"),
    )
    panels = [Panel(title, extract_curve(run.ppo, key, UPDATE), colour) for title, key, colour in kinds]
    if panels := [p for p in panels if len(p.curve)]:
        yield "scores_by_update", run_figures.draw_over_updates("scores_by_update", panels)
    panels = [Panel(title, extract_curve_against(run.ppo, key, KL), colour) for title, key, colour in kinds]
    if panels := [p for p in panels if len(p.curve)]:
        yield "scores_by_kl", run_figures.draw_over_kl("scores_by_kl", panels)
    for name, key, title in (*TRACES, *HEALTH):
        if len(trace := extract_curve(run.ppo, key, UPDATE)):
            yield name, run_figures.draw_over_updates(name, [Panel(title, trace, "ppo")], width=NARROW)
    train, heldout = extract_curve(run.sft, "loss", "step"), extract_curve(run.sft, "heldout_loss", "step")
    if len(train) or len(heldout):
        yield "sft_loss", run_figures.draw_losses("sft_loss", "SFT loss (nats per token)", train, heldout, colour="sft")
    if run.reward_model is not None:
        yield from _draw_reward_model_figures(run, run.reward_model)
    matches = [re.fullmatch(r"gold_(.+)_sft", key) for key in run.summary]
    terms = [m[1] for m in matches if m is not None and f"gold_{m[1]}_ppo" in run.summary]
    sft, ppo = ([run.number(f"gold_{t}_{side}") or 0.0 for t in terms] for side in ("sft", "ppo"))
    if terms:
        yield "gold_components", run_figures.draw_components("gold_components", [printable(t) for t in terms], sft, ppo)


def _draw_reward_model_figures(run: Run, metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    where = str(run.folder / "reward_model" / "metrics.json")
    if (value := read_number(metrics, "accuracy", where)) is not None:
        yield "rm_accuracy", run_figures.draw_accuracy("rm_accuracy", value, read_number(metrics, "ceiling", where))
    bins = read_points(metrics, "calibration", ("predicted", "observed", "count"), where)
    if bins := [b for b in bins if b["count"] > 0]:
        yield "rm_reliability", run_figures.draw_reliability("rm_reliability", bins)
    margins = read_points(
        metrics, "accuracy_by_margin", ("margin_low", "accuracy", "count"), where, optional=("margin_high",)
    )
    if margins := [m for m in margins if m["count"] > 0]:
        yield "rm_margin", run_figures.draw_accuracy_by_margin("rm_margin", margins)
    if loss := read_points(metrics, "loss_curve", ("step", "loss"), where):
        train, no_curve = extract_curve(loss, "loss", "step"), extract_curve([], "loss", "step")
        yield (
            "rm_loss",
            run_figures.draw_losses("rm_loss", "Reward-model loss (nats per pair)", train, no_curve, colour="proxy"),
        )


def _read_reward_model_number(run: Run, key: str) -> float | None:
    where = str(run.folder / "reward_model" / "metrics.json")
    return None if run.reward_model is None else read_number(run.reward_model, key, where)


def _time_stages(run: Run) -> list[tuple[str, str, float]]:
    """Returns name, time and share of the longest, for every stage that was timed, in the order of the pipeline."""
    seconds = {k.removeprefix("seconds_"): run.number(k) or 0.0 for k in run.summary if k.startswith("seconds_")}
    order = [s for s in STAGES if s in seconds] + sorted(set(seconds) - set(STAGES))
    longest = max([1e-9, *seconds.values()])
    return [
        (
            printable(STAGES.get(s, s.replace("_", " "))),
            format_duration(seconds[s]),
            round(100 * seconds[s] / longest, 1),
        )
        for s in order
    ]


def _list_config(config: Mapping[str, Any]) -> list[tuple[str, Sequence[tuple[str, str]]]]:
    """Returns the config as (section, rows): loose options first, then a section per object, dots for deeper ones."""
    loose = [(k, json.dumps(v, ensure_ascii=False)) for k, v in config.items() if not isinstance(v, dict)]
    sections: list[tuple[str, Sequence[tuple[str, str]]]] = [
        (k, list(_flatten(v, ""))) for k, v in config.items() if isinstance(v, dict)
    ]
    return ([("run", loose)] if loose else []) + sections


def _flatten(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)
