"""`textrl lint`: faults in a file of preferences that would mislead a reward model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from textrl_env.cli.finding_tables import severity_table
from textrl_env.cli.stages import print_lines
from textrl_env.errors import InputError, require_count
from textrl_env.pipeline.option_paths import InputFile, OutputFile
from textrl_env.pipeline.runs import require_path, write_json
from textrl_env.reward_models.lint import LintOptions

if TYPE_CHECKING:
    from textrl_env.reward_models.lint import LintReport, TokenBudget


@dataclass(frozen=True)
class Lint:
    """Looks for faults and biases in preferences; exit code 1 if it finds some, 2 if the file cannot be read."""

    data: tyro.conf.Positional[InputFile]
    """JSONL, JSON, CSV or Parquet with prompt, chosen, rejected (or ranking), texts or messages; annotator, shown."""
    against: InputFile | None = None
    """A file of held-out preferences, with which `data` should have nothing in common."""
    tokenizer: Path | None = None
    """A folder with the tokenizer of the model that will read the rows."""
    max_tokens: int | None = None
    """Most tokens of prompt and completion; by default the context of the model in TOKENIZER."""
    options: Annotated[LintOptions, tyro.conf.arg(name="", help="")] = field(default_factory=LintOptions)
    fail_on: Literal["notice", "warning", "error"] = "warning"
    """The least grave finding that makes the exit code 1."""
    json: OutputFile | None = None
    """A file for the findings, for machines; - is the terminal, instead of the table."""

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            require_count(1, max_tokens=self.max_tokens)

    def run(self) -> None:
        """Prints the findings; SystemExit(1) if one is as grave as `fail_on`."""
        budget = self._read_budget()

        from textrl_env.reward_models.lint import lint, read_corpus

        report = lint(read_corpus(self.data, self.options, against=self.against, budget=budget))
        grave = report.at_least(self.fail_on)
        values: dict[str, Any] = {"passed": not grave, **report.as_dict()}
        if self.json and str(self.json) == "-":
            print(json.dumps(values, indent=1, ensure_ascii=False))
        else:
            print_lines(render_report(report))
        if self.json and str(self.json) != "-":
            write_json(self.json, values)
        if grave:
            raise SystemExit(1)

    def _read_budget(self) -> "TokenBudget | None":
        """Returns the tokenizer and how many of its tokens fit; InputError where one of the two is missing."""
        if self.tokenizer is None:
            if self.max_tokens is not None:
                raise InputError("max_tokens needs a tokenizer to count with; add --tokenizer FOLDER, or use max_chars")
            return None
        require_path(self.tokenizer, made_by="save_pretrained of the model that will read the rows")

        from textrl_env.lm import context_length, load_config, load_tokenizer
        from textrl_env.reward_models.lint import TokenBudget

        most = self.max_tokens
        if most is None and (self.tokenizer / "config.json").is_file():
            most = context_length(load_config(self.tokenizer))
        if most is None:
            raise InputError(f"{self.tokenizer}: no config.json that says how long a text may be; give max_tokens")
        require_count(1, max_tokens=most)
        return TokenBudget(load_tokenizer(self.tokenizer), most)


def render_report(report: "LintReport") -> Iterator[Any]:
    """Yields the report as lines and a table for the terminal."""
    yield f"{report.source}: {report.n_rows} rows, {report.n_pairs} pairs, {report.n_prompts} prompts"
    if report.findings:
        yield severity_table(report.findings)
    if report.clean:
        yield f"nothing found: {', '.join(report.clean)}"
    for name, reason in report.skipped.items():
        yield f"not looked at: {name} ({reason})"
