"""Preferences by a constitution, and how far their judge is to be believed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from textrl_env.errors import InputError, require_at_least, require_count, require_seed
from textrl_env.pipeline.ai_feedback.inputs import (
    JudgeOptions,
    ReplyOptions,
    load_constitution,
    load_judge,
    sample_replies,
)
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.runs import StageStoppedError, write_jsonl
from textrl_env.training import Interrupt

if TYPE_CHECKING:
    from textrl_env.reward_models.feedback.store import Item


@dataclass(frozen=True)
class AIFeedbackOptions:
    """A judge compares replies by a constitution; writes RUN/ai_feedback, and goes on where it was stopped."""

    folder: ClassVar[str] = "ai_feedback"

    judging: JudgeOptions = field(default_factory=JudgeOptions)
    """Who judges, and by what."""
    completions: InputFile | None = None
    """Replies that are there already, as for `textrl label`."""
    replies: ReplyOptions = field(default_factory=ReplyOptions)
    """Otherwise, replies that are sampled."""
    k: int = 2
    """Replies per prompt; every two are compared."""
    principles_per_pair: int = 1
    """Drawn for a pair; its label is their mean."""
    human: InputFile | None = None
    """People's preferences, to compare with and to mix in."""
    slices: tuple[str, ...] = ()
    """Columns of HUMAN to tell agreement by."""
    human_weight: float = 1.0
    """Weight of people's rows in mixed.jsonl."""
    ai_weight: float = 1.0
    """Weight of the judge's rows there."""

    def __post_init__(self) -> None:
        require_count(2, k=self.k)
        require_count(1, principles_per_pair=self.principles_per_pair)
        require_at_least(0, human_weight=self.human_weight, ai_weight=self.ai_weight)


def run_ai_feedback(options: AIFeedbackOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Writes log.jsonl, preferences.jsonl and mixed.jsonl to RUN/ai_feedback.

    Returns:
        Counts of pairs and labels, and the judge's position bias and agreement with people.

    Raises:
        InputError: an option, a row or the endpoint is wrong; it is named.
        StageStoppedError: Ctrl-C ended it; the same command asks only what is not answered yet.
    """
    require_seed(seed)
    if options.slices and options.human is None:
        raise InputError("slices: these are columns of the file that --human names; name it too")
    n_principles = options.principles_per_pair
    constitution = load_constitution(options.judging, principles_per_pair=n_principles)

    from textrl_env.reward_models.ai_feedback import (
        judge_pairs,
        label_rows,
        mixed_rows,
        read_human_pairs,
        report_judge,
    )

    human = None
    if options.human is not None:
        human = read_human_pairs(options.human, columns=options.slices, on_bad_row=options.replies.on_bad_row)
    judge = load_judge(options.judging)
    items = _read_items(options, run_dir, seed)
    pairs: Sequence[Item] = [*items, *(human.items if human else ())]
    if not pairs:
        raise InputError("n_prompts: with 0 there is nothing to judge; give --completions or --human")
    # Generators of their own: more replies leave the questions about people's pairs as they are, and answered.
    principles = [
        row
        for stream, n in enumerate((len(items), len(pairs) - len(items)))
        for row in constitution.draw(n, np.random.default_rng([require_seed(seed), stream]), each=n_principles)
    ]
    out = run_dir / options.folder
    with Interrupt() as stop:
        verdicts = judge_pairs(pairs, principles, judge, out / "log.jsonl", should_stop=stop)
    if verdicts is None:
        message = (
            f"stopped before every pair was judged; the answers so far are in {out / 'log.jsonl'}, and the same "
            "command asks only the rest"
        )
        raise StageStoppedError(message, stop.exit_code)
    labels = label_rows(verdicts[: len(items)], judge.name)
    for name in ("preferences.jsonl", "mixed.jsonl"):  # An earlier run's would pass for this one's.
        (out / name).unlink(missing_ok=True)
    if items:
        write_jsonl(out / "preferences.jsonl", labels)
    report = report_judge(judge.name, verdicts, human, rng=np.random.default_rng(require_seed(seed)))
    if human is not None and items:
        mixed = mixed_rows(human.rows, labels, human_weight=options.human_weight, ai_weight=options.ai_weight)
        write_jsonl(out / "mixed.jsonl", mixed)
    counts = {"n_pairs": len(items), "n_labels": len(labels), "n_undecided": len(items) - len(labels)}
    return counts | report.as_dict()


def _read_items(options: AIFeedbackOptions, run_dir: Path, seed: int) -> "list[Item]":
    """Returns the pairs of replies to judge: the user's, or sampled ones."""
    from textrl_env.reward_models.feedback.store import make_items, read_items

    if options.completions is not None:
        return read_items(options.completions, "pair", on_bad_row=options.replies.on_bad_row)
    samples = sample_replies(options.replies, run_dir, seed, k=options.k)
    return [item for prompt, texts in samples for item in make_items("pair", prompt, texts)]
