"""`textrl dpo`: a policy straight from preferences."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from textrl_env.agents.dpo_config import DPOConfig
from textrl_env.cli.checkpoints import Checkpoints
from textrl_env.cli.optional import OptionalPath
from textrl_env.cli.reward_model import read_for_training
from textrl_env.cli.run_folder import existing_model
from textrl_env.cli.stage import Stopped
from textrl_env.interrupt import Interrupt
from textrl_env.reward_models.preferences import Preference, read_preferences
from textrl_env.rows import OnBadRow


@dataclass(frozen=True)
class TrainDPO:
    """Trains on preferences alone (DPO, IPO); writes RUN/dpo."""

    folder: ClassVar[str] = "dpo"

    preferences: OptionalPath = None
    """JSONL with prompt, chosen, rejected (and ranking); by default RUN/preferences/train.jsonl."""
    heldout: OptionalPath = None
    """Such rows to judge by; by default RUN/preferences/heldout.jsonl, or a tenth of yours."""
    policy: OptionalPath = None
    """Causal LM to start from and stay near; else RUN/sft."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    training: Annotated[DPOConfig, tyro.conf.arg(name="")] = field(default_factory=DPOConfig)
    """How to train."""
    checkpoints: Annotated[Checkpoints, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Checkpoints(save_every=100)
    )
    """How often to save, and where to go on."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Trains and writes the policy; the metrics are those of `train_dpo` on the held-out pairs."""
        read = partial(read_preferences, on_bad_row=self.on_bad_row)
        train, heldout = read_for_training(run_dir, self.preferences, self.heldout, read=read)
        start = existing_model(self.policy or run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import train_dpo
        from textrl_env.checkpoint import writing
        from textrl_env.pretrained import load_model, load_tokenizer

        model, tokenizer = load_model(AutoModelForCausalLM, start), load_tokenizer(start)
        out = run_dir / self.folder
        saver = self.checkpoints.saver(out)
        with Interrupt() as stop, writing(run_dir):
            metrics = train_dpo(
                model, tokenizer, _pairs(train), self.training, heldout=_pairs(heldout), log_dir=out, seed=seed,
                should_stop=stop, saver=saver, resume=self.checkpoints.start(out),
            )  # fmt: skip
            model.save_pretrained(out / "policy")
            tokenizer.save_pretrained(out / "policy")
        if stop.requested:
            raise Stopped(
                f"stopped before the end of DPO; saved in {out / 'policy'} and {saver.folder}; "
                "go on with --resume auto",
                stop.exit_code,
            )
        return metrics

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        exported = run_dir / self.folder / "policy"
        yield (
            f"on held-out pairs: accuracy {metrics['rewards/accuracies']:.3f}, margin "
            f"{metrics['rewards/margins']:.2f}, loss {metrics['loss']:.3f}; the policy is in {exported}"
        )
        yield f"next: textrl evaluate --run-dir {run_dir} --policy {exported}"


def _pairs(preferences: list[Preference]) -> list[dict[str, Any]]:
    """All pairs of every ranking, with their soft labels, as `train_dpo` takes them."""
    return [
        {"prompt": one.prompt, "chosen": better, "rejected": worse, "soft_label": probability, "where": one.where}
        for one in preferences
        for (better, worse), probability in zip(combinations(one.ranking, 2), one.pair_probabilities, strict=True)
    ]
