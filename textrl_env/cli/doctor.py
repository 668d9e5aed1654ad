"""`textrl doctor`: looks at a policy, reference, reward model and prompts before they are trained with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from textrl_env.checks import Outcome
from textrl_env.cli.finding_tables import verdict_table
from textrl_env.errors import require_count, require_seed
from textrl_env.pipeline import EndTokenOptions
from textrl_env.pipeline.option_paths import InputFile, OutputFile
from textrl_env.pipeline.runs import require_model, write_json

LABELS: Mapping[Outcome, tuple[str, str]] = {
    "passed": ("OK", "green"),
    "failed": ("FAIL", "bold red"),
    "not applicable": ("not applicable", "dim"),
}
COLUMNS = {
    "name": "check",
    "outcome": "outcome",
    "measured": "message",
    "prevents": "consequence",
    "remedy": "remedy",
}
"""Keys of a finding in JSON, and the attributes behind them."""


@dataclass(frozen=True)
class Doctor(EndTokenOptions):
    """Checks models and prompts before PPO; exit code 1: failed."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    policy: Path | None = None
    """The causal LM to start from; by default RUN/sft."""
    reference: Path | None = None
    """The causal LM to stay near; by default the policy itself, as in `textrl ppo`."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model, where that is there."""
    prompts: InputFile | None = None
    """JSONL, CSV or TXT with prompts; by default the support desk's."""
    max_new_tokens: int = 49
    """Longest completion, in tokens."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the models are trained in; bfloat16 rounds more and is allowed more."""
    seed: int = 0
    """Of the sampled episodes."""
    json: OutputFile | None = None
    """A file for the results, for machines."""

    def __post_init__(self) -> None:
        require_count(1, max_new_tokens=self.max_new_tokens)
        require_seed(self.seed)

    def run(self) -> None:
        """Prints the table of results; SystemExit(1) if a check fails, InputError for what cannot be read."""
        policy = require_model(self.policy, self.run_dir / "sft", made_by=f"textrl sft --run-dir {self.run_dir}")
        reference = self.reference and require_model(self.reference, made_by="textrl sft")
        reward_model = self.run_dir / "reward_model"
        if self.reward_model or reward_model.exists():
            made_by = f"textrl reward-model --run-dir {self.run_dir}"
            reward_model = require_model(self.reward_model, reward_model, made_by=made_by)

        from textrl_env.pipeline.doctor import TrainingSetup, examine

        setup = TrainingSetup(
            policy,
            reference=reference,
            reward_model=reward_model if reward_model.exists() else None,
            prompts=self.prompts,
            max_new_tokens=self.max_new_tokens,
            eos_token_ids=self.eos_token_ids,
            dtype=self.dtype,
            seed=self.seed,
        )
        console = Console()
        with console.status("examining"):
            findings = list(examine(setup))
        console.print(verdict_table(findings, title="doctor", labels=LABELS))
        n_failures = sum(finding.outcome == "failed" for finding in findings)
        if self.json:
            checks = [finding.as_row(COLUMNS) for finding in findings]
            write_json(self.json, {"passed": not n_failures, "checks": checks})
        console.print(f"{n_failures} of {len(findings)} checks failed" if n_failures else "no check failed")
        if n_failures:
            raise SystemExit(1)
