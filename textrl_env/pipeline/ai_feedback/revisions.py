"""Replies criticised and written anew by a constitution, for supervised fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textrl_env.data import find_prompt_fault, find_text_fault
from textrl_env.data.rows import check_rows, parse_rows
from textrl_env.data.text import Prompt, completion_text
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.pipeline.ai_feedback.inputs import (
    JudgeOptions,
    ReplyOptions,
    load_constitution,
    load_reviser,
    sample_replies,
)
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.runs import StageStoppedError, write_jsonl
from textrl_env.training import Interrupt


@dataclass(frozen=True)
class RevisionOptions:
    """Revises replies by a constitution; writes RUN/revisions."""

    folder: ClassVar[str] = "revisions"

    judging: JudgeOptions = field(default_factory=JudgeOptions)
    """Who criticises and revises, and by what."""
    completions: InputFile | None = None
    """Replies there already: rows with prompt and completion."""
    replies: ReplyOptions = field(default_factory=ReplyOptions)
    """Otherwise, replies that are sampled."""
    n_revisions: int = 4
    """Revisions of each reply, a principle each."""
    max_written_tokens: int = 128
    """Longest critique or revision of a model, in tokens."""

    def __post_init__(self) -> None:
        require_count(1, n_revisions=self.n_revisions, max_written_tokens=self.max_written_tokens)


def run_revision(options: RevisionOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Writes log.jsonl, demonstrations.jsonl and preferences.jsonl to RUN/revisions; returns counts.

    Raises:
        InputError: an option, a row or the endpoint is wrong; it is named.
        StageStoppedError: Ctrl-C ended it; the same command asks only what is not answered yet.
    """
    require_seed(seed)
    constitution = load_constitution(options.judging, n_revisions=options.n_revisions)

    from textrl_env.reward_models.ai_feedback import demonstration_rows, preference_rows, revise_all

    reviser = load_reviser(options.judging, options.max_written_tokens)
    pairs = _read_replies(options, run_dir, seed)
    if not pairs:
        raise InputError("n_prompts: with 0 there is nothing to revise; give --completions")
    prompts, completions = [prompt for prompt, _ in pairs], [completion for _, completion in pairs]
    principles = constitution.draw(len(prompts), np.random.default_rng(require_seed(seed)), each=options.n_revisions)
    out = run_dir / options.folder
    with Interrupt() as stop:
        histories = revise_all(prompts, completions, principles, reviser, log=out / "log.jsonl", should_stop=stop)
    if histories is None:
        message = (
            f"stopped before every reply was revised; the answers so far are in {out / 'log.jsonl'}, and the same "
            "command asks only the rest"
        )
        raise StageStoppedError(message, stop.exit_code)
    write_jsonl(out / "demonstrations.jsonl", demonstration_rows(histories, reviser.name))
    write_jsonl(out / "preferences.jsonl", preference_rows(histories, reviser.name))
    return {"n_replies": len(histories), "n_changed": sum(history.differs for history in histories)}


def _read_replies(options: RevisionOptions, run_dir: Path, seed: int) -> list[tuple[Prompt, str]]:
    """Returns prompts and replies: the user's, or sampled ones."""
    if options.completions is None:
        samples = sample_replies(options.replies, run_dir, seed, k=1)
        return [(prompt, texts[0]) for prompt, texts in samples]
    rows = check_rows(
        parse_rows(options.completions, "prompt"),
        columns=["prompt", "completion"],
        fault_of=_find_fault,
        on_bad_row=options.replies.on_bad_row,
        source=str(options.completions),
    )
    return [(row.values["prompt"], completion_text(row.values["completion"])) for row in rows]


def _find_fault(row: Mapping[str, Any]) -> str | None:
    if fault := find_prompt_fault(row["prompt"]):
        return f"column 'prompt' {fault}"
    completion = row["completion"]
    is_conversation = isinstance(completion, list)
    fault = find_prompt_fault(completion) if is_conversation else find_text_fault(completion)
    return fault and f"column 'completion' {fault}"
