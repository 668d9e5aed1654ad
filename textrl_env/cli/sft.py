"""`textrl sft`: a tokenizer and a small model from scratch, or a model of yours, trained on demonstrations."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from textrl_env.agents.offline import SFTConfig
from textrl_env.cli.checkpoints import Checkpoints
from textrl_env.cli.memory import Footprint, longest_tokens
from textrl_env.cli.optional import OptionalPath
from textrl_env.cli.run_folder import existing_model
from textrl_env.cli.stage import Stopped, command_line
from textrl_env.data import OnBadRow, read_rows
from textrl_env.data.text import encode_completion
from textrl_env.errors import InputError, require_at_least
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.training import Interrupt
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class TrainSFT:
    """Supervised fine-tuning on demonstrations; writes RUN/sft."""

    folder: ClassVar[str] = "sft"

    demonstrations: OptionalPath = None
    """JSONL or CSV with columns prompt and completion; by default the support desk's."""
    model: OptionalPath = None
    """A causal LM's folder to start from; by default a small Llama-type model from scratch."""
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
    training: Annotated[SFTConfig, tyro.conf.arg(name="")] = field(default_factory=SFTConfig)
    """How to train."""
    checkpoints: Annotated[Checkpoints, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Checkpoints(save_every=100)
    )
    """How often to save, and where to go on."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Trains; the metrics are the held-out loss in nats per token and how many rows it was measured on."""
        rows, heldout = self._demonstrations(seed)
        if self.model is not None:
            existing_model(self.model, made_by="save_pretrained of a causal LM")

        from textrl_env.agents import train_sft, train_tokenizer
        from textrl_env.agents.policy import ModelCard, export_policy, small_llama
        from textrl_env.training.checkpoints import writing

        if self.model is None:
            tokenizer = train_tokenizer((row["prompt"] + row["completion"] for row in rows), vocab_size=self.vocab_size)
            model = small_llama(
                tokenizer, hidden_size=self.hidden_size, layers=self.layers, context=self.context, seed=seed
            )
        else:
            from transformers import AutoModelForCausalLM

            tokenizer = load_tokenizer(self.model)
            model = load_model(AutoModelForCausalLM, self.model)
        out = run_dir / self.folder
        saver = self.checkpoints.saver(out)
        with Interrupt() as stop, writing(run_dir):
            loss = train_sft(
                model, tokenizer, rows, self.training, heldout=heldout, log_dir=out, seed=seed, should_stop=stop,
                saver=saver, resume=self.checkpoints.start(out),
            )  # fmt: skip
        metrics = {"heldout_loss": loss, "n_demonstrations": len(rows), "n_heldout": len(heldout)}
        card = ModelCard(
            method="SFT", base=str(self.model or "random weights"), seed=seed, command=command_line(),
            data=str(self.demonstrations or "demonstrations of the support desk"), metrics=metrics,
        )  # fmt: skip
        # Room for the longest demonstration: a policy trained on them knows no longer completion.
        longest = max(len(encode_completion(tokenizer, row["completion"])) for row in rows[:1000])
        export_policy(out, model, tokenizer, card, max_new_tokens=longest)
        if stop.requested:
            raise Stopped(
                f"stopped before the end of supervised fine-tuning; saved in {out} and {saver.folder}; go on with "
                "--resume auto",
                stop.exit_code,
            )
        return metrics

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        yield (
            f"held-out loss {metrics['heldout_loss']:.3f} nats per token on {metrics['n_heldout']} demonstrations; "
            f"the model is in {run_dir / self.folder}"
        )
        own = self.demonstrations is not None
        step = "reward-model --preferences YOURS.jsonl" if own else "preferences"
        yield f"next: textrl {step} --run-dir {run_dir}"

    writes: ClassVar[tuple[str, ...]] = ("sft",)

    def rehearsals(self) -> tuple["TrainSFT", "TrainSFT"]:
        """One step, and three."""
        tiny = replace(
            self, n_demonstrations=min(self.n_demonstrations, 500), training=replace(self.training, n_steps=1),
            checkpoints=Checkpoints(),
        )  # fmt: skip
        return tiny, replace(tiny, training=replace(self.training, n_steps=3))

    def work(self, run_dir: Path) -> int:
        """Demonstrations in training steps, and a third of those read in the evaluations: a forward pass only."""
        steps = self.training.n_steps
        evaluations = steps // max(1, steps // 10) + 1
        return steps * self.training.batch_size + evaluations * len(self._demonstrations(0)[1]) // 3

    def footprint(self, run_dir: Path) -> Footprint:
        """The model and a batch of the longest demonstrations."""
        model = self.model or run_dir / self.folder
        rows = sorted(self._demonstrations(0)[0], key=lambda row: -len(row["prompt"] + row["completion"]))
        longest = longest_tokens(model, [row["prompt"] + row["completion"] for row in rows[:4]])
        return Footprint(trained=[model], training_tokens=self.training.batch_size * longest)

    def _demonstrations(self, seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows to train on and rows to hold out."""
        if self.demonstrations is None:
            require_at_least(1, n_demonstrations=self.n_demonstrations)
            heldout = support_desk.demonstrations(300, seed=seed, split="heldout")
            return support_desk.demonstrations(self.n_demonstrations, seed=seed), heldout
        read = read_rows(self.demonstrations, text_columns=["prompt", "completion"], on_bad_row=self.on_bad_row)
        if len(read) < 2:
            raise InputError(f"{self.demonstrations}: two demonstrations or more are needed, found {len(read)}")
        rows = [{**row.values, "where": row.where} for row in read]
        n_heldout = max(1, min(300, len(rows) // 20))
        return rows[:-n_heldout], rows[-n_heldout:]
