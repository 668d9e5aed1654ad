"""`textrl quickstart`: the whole line on the support desk, from demonstrations to a report."""

import platform
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from textrl_env.cli.evaluate import Evaluate
from textrl_env.cli.ppo import TrainPPO
from textrl_env.cli.preferences import CollectPreferences
from textrl_env.cli.report import Report
from textrl_env.cli.reward_model import TrainRewardModel
from textrl_env.cli.run_folder import write_json
from textrl_env.cli.sft import TrainSFT

Result = TypeVar("Result")
SHOWN = (
    ("gold score", "gold_sft", "gold_ppo"),
    ("proxy score", "proxy_sft", "proxy_ppo"),
    ("tokens", "length_sft", "length_ppo"),
    ("distinct bigrams", "distinct_2_sft", "distinct_2_ppo"),
)


@dataclass(frozen=True)
class Quickstart:
    """SFT, preferences, reward model, PPO, evaluation and report on the built-in world, in about three minutes."""

    out: Path = Path("runs/quickstart")
    """The run's folder; an earlier run's files in it are replaced."""
    seed: int = 0
    """Of everything random: equal seeds give equal files."""
    threads: int = 2
    """CPU threads of torch."""
    sft: TrainSFT = field(default_factory=TrainSFT)
    """Options of the first stage."""
    preferences: CollectPreferences = field(default_factory=CollectPreferences)
    """Options of the second stage."""
    reward_model: TrainRewardModel = field(default_factory=TrainRewardModel)
    """Options of the third stage."""
    ppo: TrainPPO = field(default_factory=TrainPPO)
    """Options of the fourth stage."""
    evaluation: Evaluate = field(default_factory=Evaluate)
    """Options of the fifth stage."""

    def run(self) -> dict[str, Any]:
        """Runs all stages; writes summary.json and report.html; returns the summary."""
        import torch
        from transformers.utils import logging

        torch.set_num_threads(self.threads)
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        started = time.perf_counter()
        seconds: dict[str, float] = {}

        def timed(name: str, stage: Callable[[], Result]) -> Result:
            begun = time.perf_counter()
            result = stage()
            seconds[f"seconds_{name}"] = round(time.perf_counter() - begun, 1)
            return result

        shared: dict[str, Any] = {"run_dir": self.out, "seed": self.seed}
        sft = timed("sft", replace(self.sft, **shared).run)
        raters = timed("preferences", replace(self.preferences, **shared).run)
        judged = timed("reward_model", replace(self.reward_model, **shared).run)
        timed("ppo", replace(self.ppo, **shared).run)
        compared = timed("evaluation", replace(self.evaluation, **shared).run)
        summary = {
            **compared,
            "sft_heldout_loss": sft["heldout_loss"],
            "rm_accuracy": judged["accuracy"],
            "rm_ceiling": raters["ceiling"],
            "rm_ece": judged["ece"],
            **seconds,
            "seconds": round(time.perf_counter() - started, 1),
            "seed": self.seed,
        }
        write_json(self.out / "manifest.json", self._manifest())
        write_json(self.out / "summary.json", summary)
        report = Report(self.out).run()
        _print(summary, self.out, report)
        return summary

    def _manifest(self) -> dict[str, Any]:
        names = ("textrl-env", "torch", "transformers", "tokenizers", "gymnasium", "stable-baselines3", "numpy")
        config = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
        return {
            "title": "RLHF on the support desk",
            "world": "support desk",
            "command": shlex.join(["textrl", *sys.argv[1:]]),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
            "config": _plain(config),
        }


def _plain(value: Any) -> Any:
    """Paths as texts, through nested mappings."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _print(summary: dict[str, Any], out: Path, report: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="held-out prompts", title_justify="left")
    for column in ("", "SFT", "PPO"):
        table.add_column(column, justify="left" if not column else "right")
    for label, sft, ppo in SHOWN:
        table.add_row(label, f"{summary[sft]:.3f}", f"{summary[ppo]:.3f}")
    console = Console()
    console.print(table)
    for label, name in (("gold", "gold_win_rate"), ("reward model", "proxy_win_rate")):
        low, high = summary[f"{name}_low"], summary[f"{name}_high"]
        console.print(f"PPO beats SFT under {label}: {summary[name]:.1%} (95% interval {low:.1%} to {high:.1%})")
    console.print(f"KL to SFT {summary['kl']:.1f} nats per completion")
    console.print(
        f"reward model accuracy {summary['rm_accuracy']:.3f}, raters' own ceiling {summary['rm_ceiling']:.3f}"
    )
    console.print(f"{summary['seconds']:.0f} s, seed {summary['seed']}")
    for name, path in (
        ("report", report),
        ("summary", out / "summary.json"),
        ("policy", out / "policy"),
        ("reward model", out / "reward_model"),
        ("TensorBoard", out / "ppo"),
    ):
        console.print(f"{name:<14}{path}", soft_wrap=True)
