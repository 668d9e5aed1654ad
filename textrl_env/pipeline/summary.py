"""A whole run's figures, curve and report, from what its stages wrote."""

from pathlib import Path
from typing import Any

from textrl_env.files import locked
from textrl_env.pipeline.runs import read_json, require_path, write_json

STAGES = ("sft", "preferences", "reward_model", "ppo", "evaluation")
FIGURES = {
    "sft_heldout_loss": ("sft", "heldout_loss"),
    "rm_accuracy": ("reward_model", "accuracy"),
    "rm_ceiling": ("reward_model", "ceiling"),
    "rm_ece": ("reward_model", "ece"),
}
"""Name in the summary -> stage, and the name among its metrics."""


def write_run_report(run_dir: Path) -> dict[str, Any]:
    """Writes RUN/summary.json, manifest.json, learning_curve.png and report.html.

    Returns:
        The summary.

    Raises:
        InputError: the run was not evaluated, or PPO was not trained in it; the missing command is named.
    """
    require_path(run_dir / "evaluation" / "manifest.json", made_by=f"textrl evaluate --run-dir {run_dir}")
    with locked(run_dir):
        summary = write_summary(run_dir)

        from textrl_env.report import write_learning_curve, write_report

        write_learning_curve(run_dir, run_dir / "learning_curve.png")
        write_report(run_dir)
    return summary


def write_summary(run_dir: Path) -> dict[str, Any]:
    """Writes RUN/summary.json (flat) and RUN/manifest.json (command, options, versions); returns the summary.

    A stage that was not run here, because the user brought its result, has no figures. InputError names the command
    that is missing where the run was not evaluated.
    """
    require_path(run_dir / "evaluation" / "manifest.json", made_by=f"textrl evaluate --run-dir {run_dir}")
    manifests, metrics = (_read_all(run_dir, name) for name in ("manifest.json", "metrics.json"))
    figures = {name: metrics[stage][key] for name, (stage, key) in FIGURES.items() if key in metrics.get(stage, {})}
    seconds = {f"seconds_{stage}": manifest["seconds"] for stage, manifest in manifests.items()}
    summary = {
        **metrics["evaluation"],
        **figures,
        **seconds,
        "seconds": round(sum(seconds.values()), 1),
        "seed": manifests["evaluation"]["seed"],
    }
    write_json(run_dir / "summary.json", summary)
    own_prompts = manifests["evaluation"]["config"]["prompts"] is not None
    run_manifest = {
        "title": "RLHF run" if own_prompts else "RLHF on the support desk",
        "world": "" if own_prompts else "support desk",
        "command": "\n".join(dict.fromkeys(manifest["command"] for manifest in manifests.values())),
        "versions": manifests["evaluation"]["versions"],
        "config": {stage: {"seed": manifest["seed"], **manifest["config"]} for stage, manifest in manifests.items()},
    }
    write_json(run_dir / "manifest.json", run_manifest)
    return summary


def _read_all(run_dir: Path, name: str) -> dict[str, Any]:
    """Returns the JSON file of that name of every stage that has it."""
    files = {stage: run_dir / stage / name for stage in STAGES}
    return {stage: read_json(file) for stage, file in files.items() if file.is_file()}
