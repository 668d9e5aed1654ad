"""`textrl revise`: replies criticised and written anew by a constitution, for supervised fine-tuning."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from textrl_env.cli.judging import JudgeOptions, ReplyOptions
from textrl_env.data import check_rows, find_prompt_fault, find_text_fault, parse_rows
from textrl_env.data.text import completion_text
from textrl_env.errors import InputError
from textrl_env.pipeline.runs import StageStoppedError, write_jsonl
from textrl_env.training import Interrupt


@dataclass(frozen=True)
class Revise:
    """Revises replies by a constitution; writes RUN/revisions."""

    folder: ClassVar[str] = "revisions"

    judging: Annotated[JudgeOptions, tyro.conf.arg(name="")] = field(default_factory=JudgeOptions)
    """Who criticises and revises, and by what."""
    completions: Path | None = None
    """Replies there already: rows with prompt and completion."""
    replies: Annotated[ReplyOptions, tyro.conf.arg(name="")] = field(default_factory=ReplyOptions)
    """Otherwise, replies that are sampled."""
    n_revisions: int = 4
    """Revisions of each reply, a principle each."""
    max_written_tokens: int = 128
    """Longest critique or revision of a model, in tokens."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Writes log.jsonl, demonstrations.jsonl and preferences.jsonl; the metrics are counts."""
        constitution = self.judging.principles(n_revisions=self.n_revisions)

        from textrl_env.reward_models.ai_feedback import demonstration_rows, preference_rows, revise_all

        reviser = self.judging.make_reviser(self.max_written_tokens)
        prompts, completions = self._replies(run_dir, seed)
        drawn = constitution.draw(len(prompts), np.random.default_rng(seed), each=self.n_revisions)
        out = run_dir / self.folder
        with Interrupt() as stop:
            revised = revise_all(prompts, completions, drawn, reviser, log=out / "log.jsonl", should_stop=stop)
        if revised is None:
            raise StageStoppedError(
                f"stopped before every reply was revised; the answers so far are in {out / 'log.jsonl'}, and the same "
                "command asks only the rest", stop.exit_code,
            )  # fmt: skip
        write_jsonl(out / "demonstrations.jsonl", demonstration_rows(revised, reviser.name))
        write_jsonl(out / "preferences.jsonl", preference_rows(revised, reviser.name))
        return {"n_replies": len(revised), "n_changed": sum(history.differs for history in revised)}

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        out = run_dir / self.folder
        yield (
            f"{metrics['n_changed']} of {metrics['n_replies']} replies were changed; they are in "
            f"{out / 'demonstrations.jsonl'}, and beside the originals in {out / 'preferences.jsonl'}"
        )
        model = self.replies.policy or run_dir / "sft"
        yield (
            f"next: textrl sft --model {model} --demonstrations {out / 'demonstrations.jsonl'} --run-dir "
            f"{run_dir.with_name(run_dir.name + '-revised')}"
        )

    def _replies(self, run_dir: Path, seed: int) -> tuple[list[Any], list[str]]:
        if self.completions is not None:
            rows = check_rows(
                parse_rows(self.completions, "prompt"), columns=["prompt", "completion"], fault_of=_fault,
                on_bad_row=self.replies.on_bad_row, source=str(self.completions),
            )  # fmt: skip
            pairs = [(row.values["prompt"], completion_text(row.values["completion"])) for row in rows]
        else:
            pairs = [(prompt, texts[0]) for prompt, texts in self.replies.sampled(run_dir, seed, k=1)]
        if not pairs:
            raise InputError("n_prompts: with 0 there is nothing to revise; give --completions")
        prompts, completions = zip(*pairs, strict=True)
        return list(prompts), list(completions)


def _fault(row: Any) -> str | None:
    if fault := find_prompt_fault(row["prompt"]):
        return f"column 'prompt' {fault}"
    completion = row["completion"]
    fault = find_prompt_fault(completion) if isinstance(completion, list) else find_text_fault(completion)
    return fault and f"column 'completion' {fault}"
