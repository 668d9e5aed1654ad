"""A policy straight from preferences: DPO and IPO."""

from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

from textrl_env.agents.offline import DPOConfig
from textrl_env.data import OnBadRow
from textrl_env.errors import require_count, require_seed
from textrl_env.files import writing
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.resume import CheckpointOptions, describe_experiment
from textrl_env.pipeline.reward_model import choose_preference_files, read_for_training
from textrl_env.pipeline.runs import StageStoppedError, command_line, forget_results, require_start
from textrl_env.reward_models import Preference, read_preferences
from textrl_env.training import Interrupt


@dataclass(frozen=True)
class DPOOptions:
    """Trains on preferences alone (DPO, IPO); writes RUN/dpo."""

    folder: ClassVar[str] = "dpo"
    exports: ClassVar[str] = "dpo/policy"

    preferences: InputFile | None = None
    """JSONL with prompt, chosen, rejected (and ranking); by default RUN/preferences/train.jsonl."""
    heldout: InputFile | None = None
    """Such rows to judge by; by default RUN/preferences/heldout.jsonl, or those of a tenth of your prompts."""
    n_preferences: int | None = None
    """Most rows to train on; by default all."""
    policy: Path | None = None
    """Causal LM to start from and stay near; else RUN/sft."""
    on_bad_row: OnBadRow = "error"
    """End at a bad row, or leave it out."""
    training: DPOConfig = field(default_factory=DPOConfig)
    """How to train."""
    checkpoints: CheckpointOptions = field(default_factory=lambda: CheckpointOptions(save_every=100))
    """How often to save, and where to go on."""

    def __post_init__(self) -> None:
        if self.n_preferences is not None:
            require_count(1, n_preferences=self.n_preferences)


def run_dpo(options: DPOOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Trains a policy on preferences and writes it to RUN/dpo/policy.

    Returns:
        The metrics of `train_dpo` on the held-out pairs.

    Raises:
        InputError: an option or a row is wrong, or RUN/sft or RUN/preferences is missing.
        StageStoppedError: a signal ended the training; the policy so far is saved.
    """
    require_seed(seed)
    train, heldout = read_dpo_rows(options, run_dir)
    own_data = options.preferences is not None
    start = require_start(options.policy, run_dir, own_data=own_data, kind="language model")
    files = choose_preference_files(run_dir, options.preferences, options.heldout)
    rows = dict(zip(("preferences", "heldout"), files, strict=True))
    experiment = describe_experiment(options, seed, files=rows, models={"policy": start})
    out = run_dir / options.folder
    checkpoint = options.checkpoints.start(out, experiment)

    from transformers import AutoModelForCausalLM

    from textrl_env.agents import train_dpo
    from textrl_env.lm import load_model, load_tokenizer

    model, tokenizer = load_model(AutoModelForCausalLM, start), load_tokenizer(start)
    saver = options.checkpoints.saver(out)
    with Interrupt() as stop, writing(run_dir):
        metrics = train_dpo(
            model,
            tokenizer,
            make_pairs(train),
            options.training,
            heldout=make_pairs(heldout),
            on_bad_row=options.on_bad_row,
            log_dir=out,
            seed=seed,
            should_stop=stop,
            saver=saver,
            resume=checkpoint,
            experiment=experiment,
        )
        forget_results(out)
        data = options.preferences or run_dir / "preferences" / "train.jsonl"
        provenance = {"base": str(options.policy or start), "seed": seed, "data": str(data), "metrics": metrics}
        _export(options, model, tokenizer, folder=run_dir / options.exports, rows=train, provenance=provenance)
    if stop.requested:
        raise StageStoppedError(
            f"stopped before the end of DPO; saved in {run_dir / options.exports} and {saver.folder}; "
            "go on with --resume auto",
            stop.exit_code,
        )
    return metrics


def read_dpo_rows(options: DPOOptions, run_dir: Path) -> tuple[list[Preference], list[Preference]]:
    """Returns rows to train on, as many as the options ask for, and rows to judge by."""
    read = partial(read_preferences, on_bad_row=options.on_bad_row)
    train, heldout = read_for_training(run_dir, options.preferences, options.heldout, read=read)
    return train[: options.n_preferences], heldout


def make_pairs(preferences: list[Preference]) -> list[dict[str, Any]]:
    """Returns all pairs of every ranking, with their soft labels, as `train_dpo` takes them."""
    return [
        {"prompt": row.prompt, "chosen": better, "rejected": worse, "soft_label": probability, "where": row.where}
        for row in preferences
        for (better, worse), probability in zip(combinations(row.ranking, 2), row.pair_probabilities, strict=True)
    ]


def _export(
    options: DPOOptions,
    model: Any,
    tokenizer: Any,
    *,
    folder: Path,
    rows: list[Preference],
    provenance: dict[str, Any],
) -> None:
    """Writes the policy, with room for the longest completion of the first thousand rows, and its card."""
    from textrl_env.agents.policy import ModelCard, export_policy
    from textrl_env.data.text import encode_completion

    card = ModelCard(
        method="DPO" if options.training.loss == "sigmoid" else "IPO",
        command=command_line(),
        kl=f"{options.training.beta} per nat of KL to {provenance['base']}, in the loss",
        **provenance,
    )
    completions = [text for row in rows[:1000] for text in row.ranking]
    longest = options.training.max_new_tokens or max(len(encode_completion(tokenizer, text)) for text in completions)
    export_policy(folder, model, tokenizer, card, max_new_tokens=longest)
