"""Supervised fine-tuning on demonstrations: a tokenizer and a small model from scratch, or a model of the user's."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from textrl_env.agents.offline import SFTConfig
from textrl_env.data import OnBadRow, Row, split_rows
from textrl_env.data.rows import read_each
from textrl_env.data.text import encode_completion
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.files import writing
from textrl_env.pipeline import default_data
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.resume import CheckpointOptions, describe_experiment
from textrl_env.pipeline.runs import StageStoppedError, command_line, require_model
from textrl_env.training import Interrupt

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class SFTOptions:
    """Supervised fine-tuning on demonstrations; writes RUN/sft."""

    folder: ClassVar[str] = "sft"

    demonstrations: InputFile | None = None
    """Rows with prompt and completion, or with messages (JSONL, CSV, …); by default the support desk's."""
    model: Path | None = None
    """A causal LM to start from, folder or hub id; by default a small Llama-type model from scratch."""
    n_demonstrations: int = 16_000
    """How many demonstrations of the support desk."""
    vocab_size: int = 1024
    """Most tokens of a tokenizer from scratch."""
    hidden_size: int = 96
    """Width of a model from scratch."""
    layers: int = 2
    """Layers of a model from scratch."""
    context: int = 256
    """Longest sequence of a model from scratch, in tokens."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    training: SFTConfig = field(default_factory=SFTConfig)
    """How to train."""
    checkpoints: CheckpointOptions = field(default_factory=lambda: CheckpointOptions(save_every=100))
    """How often to save, and where to go on."""

    def __post_init__(self) -> None:
        require_count(1, n_demonstrations=self.n_demonstrations, vocab_size=self.vocab_size)
        require_count(1, hidden_size=self.hidden_size, layers=self.layers, context=self.context)


def run_sft(options: SFTOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Trains a causal LM and writes it to RUN/sft.

    Returns:
        The held-out loss in nats per token, and how many demonstrations were trained on and held out.

    Raises:
        InputError: an option or a row is wrong; it is named.
        StageStoppedError: a signal ended the training; the model so far is saved.
    """
    require_seed(seed)
    rows, heldout = read_demonstrations(options, seed)
    start = None
    if options.model is not None:
        start = require_model(options.model, made_by="save_pretrained of a causal LM")

    experiment = describe_experiment(
        options, seed, files={"demonstrations": options.demonstrations}, models={"model": start}
    )
    out = run_dir / options.folder
    checkpoint = options.checkpoints.start(out, experiment)

    from textrl_env.agents import train_sft
    from textrl_env.agents.policy import ModelCard, export_policy

    model, tokenizer = _load_or_build(options, start, rows, seed)
    if options.on_bad_row == "skip":
        rows, heldout = (_select_fitting(model, tokenizer, part) for part in (rows, heldout))
    saver = options.checkpoints.saver(out)
    with Interrupt() as stop, writing(run_dir):
        loss = train_sft(
            model,
            tokenizer,
            rows,
            options.training,
            heldout=heldout,
            log_dir=out,
            seed=seed,
            should_stop=stop,
            saver=saver,
            resume=checkpoint,
            experiment=experiment,
        )
        metrics = {"heldout_loss": loss, "n_demonstrations": len(rows), "n_heldout": len(heldout)}
        card = ModelCard(
            method="SFT",
            base=str(options.model or "random weights"),
            seed=seed,
            command=command_line(),
            data=str(options.demonstrations or f"demonstrations of {default_data.NAME}"),
            metrics=metrics,
        )
        # Room for the longest demonstration: a policy trained on them knows no longer completion.
        longest = max(len(encode_completion(tokenizer, row["completion"])) for row in rows[:1000])
        export_policy(out, model, tokenizer, card, max_new_tokens=longest)
    if stop.requested:
        raise StageStoppedError(
            f"stopped before the end of supervised fine-tuning; saved in {out} and {saver.folder}; go on with "
            "--resume auto",
            stop.exit_code,
        )
    return metrics


def read_demonstrations(options: SFTOptions, seed: int) -> tuple[Rows, Rows]:
    """Returns rows to train on and rows to hold out: those of a twentieth of a file's prompts, about 300 at most."""
    if options.demonstrations is None:
        return default_data.draw_demonstrations(options.n_demonstrations, seed=seed)

    from textrl_env.agents.offline import read_demonstration

    source = str(options.demonstrations)

    def read(row: Row) -> dict[str, Any]:
        demonstration = read_demonstration(row.values)
        for column, value in (("prompt", demonstration.prompt), ("completion", demonstration.completions[0])):
            if not str(value).strip():
                raise InputError(f"column {column!r} is empty")
        return {"prompt": demonstration.prompt, "completion": demonstration.completions[0], "where": row.where}

    rows = read_each(options.demonstrations, read, column="prompt", on_bad_row=options.on_bad_row)
    prompts, texts = [row["prompt"] for row in rows], [[row["completion"]] for row in rows]
    places = split_rows(prompts, texts, min(0.05, 300 / len(rows)), source=source)
    train_places, heldout_places = places
    return [rows[place] for place in train_places], [rows[place] for place in heldout_places]


def _select_fitting(model: Any, tokenizer: Any, rows: Rows) -> Rows:
    """Returns the rows that the model can hold; a warning counts the others."""
    from textrl_env.agents.offline import encode_demonstrations
    from textrl_env.lm import context_length

    examples = encode_demonstrations(tokenizer, rows, max_length=context_length(model), on_bad_row="skip")
    return [dict(row.values) for row in examples]


def _load_or_build(options: SFTOptions, start: Path | None, rows: Rows, seed: int) -> tuple[Any, Any]:
    """Returns the model and its tokenizer: those in a folder, or new ones."""
    if start is not None:
        from transformers import AutoModelForCausalLM

        from textrl_env.lm import load_model, load_tokenizer

        tokenizer = load_tokenizer(start)
        return load_model(AutoModelForCausalLM, start), tokenizer

    from textrl_env.agents import small_llama, train_tokenizer

    texts = (f"{row['prompt']}{row['completion']}" for row in rows)
    tokenizer = train_tokenizer(texts, vocab_size=options.vocab_size)
    model = small_llama(
        tokenizer,
        hidden_size=options.hidden_size,
        layers=options.layers,
        context=options.context,
        seed=seed,
    )
    return model, tokenizer
