"""`textrl sft`: a tokenizer and a small model from scratch, or a model of yours, trained on demonstrations."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from textrl_env.agents.sft_config import SFTConfig
from textrl_env.cli.run_folder import existing_model, write_json
from textrl_env.errors import InputError
from textrl_env.rows import OnBadRow, read_rows
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class TrainSFT:
    """Supervised fine-tuning on demonstrations; writes RUN/sft."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    demonstrations: Path | None = None
    """JSONL or CSV with columns prompt and completion; by default the support desk's."""
    model: Path | None = None
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
    training: SFTConfig = field(default_factory=SFTConfig)
    """How to train."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> dict[str, float]:
        """Trains and returns the held-out loss in nats per token."""
        rows, heldout = self._demonstrations()
        if self.model is not None:
            existing_model(self.model, made_by="save_pretrained of a causal LM")

        from textrl_env.agents import train_sft, train_tokenizer
        from textrl_env.agents.llama import small_llama

        if self.model is None:
            tokenizer = train_tokenizer((row["prompt"] + row["completion"] for row in rows), vocab_size=self.vocab_size)
            model = small_llama(
                tokenizer, hidden_size=self.hidden_size, layers=self.layers, context=self.context, seed=self.seed
            )
        else:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self.model)
            model = AutoModelForCausalLM.from_pretrained(self.model)
        out = self.run_dir / "sft"
        config = replace(self.training, seed=self.seed)
        loss = train_sft(model, tokenizer, rows, config, heldout=heldout, log_dir=out)
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        result = {"heldout_loss": loss}
        write_json(out / "metrics.json", result)
        return result

    def _demonstrations(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Rows to train on and rows to hold out."""
        if self.demonstrations is None:
            heldout = support_desk.demonstrations(300, seed=self.seed, split="heldout")
            return support_desk.demonstrations(self.n_demonstrations, seed=self.seed), heldout
        read = read_rows(self.demonstrations, text_columns=["prompt", "completion"], on_bad_row=self.on_bad_row)
        if len(read) < 2:
            raise InputError(f"{self.demonstrations}: two demonstrations or more are needed, found {len(read)}")
        rows = [row.values for row in read]
        n_heldout = max(1, min(300, len(rows) // 20))
        return rows[:-n_heldout], rows[-n_heldout:]
