"""`textrl doctor`: looks at a policy, reference, reward model and prompts before they are trained with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from textrl_env.pipeline.runs import require_model, write_json

if TYPE_CHECKING:
    from textrl_env.cli.doctor.check import Result

SHOWN = {"passed": ("OK", "green"), "failed": ("FAIL", "bold red"), "not applicable": ("not applicable", "dim")}


@dataclass(frozen=True)
class Doctor:
    """Checks models and prompts before PPO; exit code 1: failed."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    policy: Path | None = None
    """The causal LM to start from; by default RUN/sft."""
    reference: Path | None = None
    """The causal LM to stay near; by default the policy itself, as in `textrl ppo`."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model, where that is there."""
    prompts: Path | None = None
    """JSONL, CSV or TXT with prompts; by default the support desk's."""
    max_new_tokens: int = 49
    """Longest completion, in tokens."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the models are trained in; bfloat16 rounds more and is allowed more."""
    seed: int = 0
    """Of the sampled episodes."""
    json: Path | None = None
    """A file for the results, for machines."""

    def run(self) -> None:
        """Prints the table of results; SystemExit(1) if a check fails, InputError for what cannot be read."""
        policy = require_model(self.policy or self.run_dir / "sft", made_by=f"textrl sft --run-dir {self.run_dir}")
        reference = self.reference and require_model(self.reference, made_by="textrl sft")
        judge = self.reward_model or self.run_dir / "reward_model"
        if self.reward_model or judge.exists():
            require_model(judge, made_by=f"textrl reward-model --run-dir {self.run_dir}")

        from textrl_env.cli.doctor.case import Case
        from textrl_env.cli.doctor.check import examine
        from textrl_env.cli.doctor.checks import CHECKS

        case = Case(
            policy, reference=reference, reward_model=judge if judge.exists() else None, prompts=self.prompts,
            max_new_tokens=self.max_new_tokens, dtype=self.dtype, seed=self.seed,
        )  # fmt: skip
        console = Console()
        with console.status("examining"):
            results = list(examine(case, CHECKS))
        console.print(table(results))
        failed = [result.name for result in results if result.outcome == "failed"]
        if self.json:
            write_json(self.json, {"passed": not failed, "checks": [asdict(result) for result in results]})
        console.print(f"{len(failed)} of {len(results)} checks failed" if failed else "no check failed")
        if failed:
            raise SystemExit(1)


def table(results: Sequence["Result"]) -> Table:
    """Results for the terminal; a failure says what it leads to and what to do."""
    shown = Table("check", "", "measured", title="doctor", title_justify="left")
    for result in results:
        label, style = SHOWN[result.outcome]
        told = Text(result.measured)
        if result.outcome == "failed":
            told.append(f"\nleads to: {result.prevents}\nto do: {result.remedy}", style="bold")
        shown.add_row(result.name, Text(label, style=style), told)
    return shown
