"""`textrl dpo`: a policy straight from preferences."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from textrl_env.agents.offline import DPOConfig
from textrl_env.cli.checkpoints import Checkpoints
from textrl_env.cli.memory import Footprint, longest_tokens
from textrl_env.cli.optional import OptionalInt, OptionalPath
from textrl_env.cli.reward_model import read_for_training
from textrl_env.cli.run_folder import existing_model
from textrl_env.cli.stage import Stopped, command_line
from textrl_env.data import OnBadRow
from textrl_env.errors import require_at_least
from textrl_env.reward_models import Preference, read_preferences
from textrl_env.training import Interrupt


@dataclass(frozen=True)
class TrainDPO:
    """Trains on preferences alone (DPO, IPO); writes RUN/dpo."""

    folder: ClassVar[str] = "dpo"

    preferences: OptionalPath = None
    """JSONL with prompt, chosen, rejected (and ranking); by default RUN/preferences/train.jsonl."""
    heldout: OptionalPath = None
    """Such rows to judge by; by default RUN/preferences/heldout.jsonl, or a tenth of yours."""
    n_preferences: OptionalInt = None
    """Most rows to train on; by default all."""
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
        if self.n_preferences is not None:
            require_at_least(1, n_preferences=self.n_preferences)
        train, heldout = self._rows(run_dir)
        start = existing_model(
            self.policy or run_dir / "sft",
            made_by=f"textrl sft --run-dir {run_dir}" + (" --demonstrations YOURS.jsonl" if self.preferences else ""),
            kind="language model",
        )

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import train_dpo
        from textrl_env.agents.policy import ModelCard, export_policy
        from textrl_env.data.text import encode_completion
        from textrl_env.lm import load_model, load_tokenizer
        from textrl_env.training.checkpoints import writing

        model, tokenizer = load_model(AutoModelForCausalLM, start), load_tokenizer(start)
        out = run_dir / self.folder
        saver = self.checkpoints.saver(out)
        with Interrupt() as stop, writing(run_dir):
            metrics = train_dpo(
                model, tokenizer, _pairs(train), self.training, heldout=_pairs(heldout), log_dir=out, seed=seed,
                should_stop=stop, saver=saver, resume=self.checkpoints.start(out),
            )  # fmt: skip
            card = ModelCard(
                method="DPO" if self.training.loss == "sigmoid" else "IPO", base=str(start), seed=seed,
                command=command_line(), data=str(self.preferences or run_dir / "preferences" / "train.jsonl"),
                kl=f"{self.training.beta} per nat of KL to {start}, in the loss", metrics=metrics,
            )  # fmt: skip
            completions = [text for row in train[:1000] for text in row.ranking]
            longest = self.training.max_new_tokens or max(
                len(encode_completion(tokenizer, text)) for text in completions
            )
            export_policy(out / "policy", model, tokenizer, card, max_new_tokens=longest)
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
        own = " --prompts HELDOUT.jsonl" if self.preferences else ""
        yield f"next: textrl evaluate --run-dir {run_dir} --policy {exported}{own}"

    writes: ClassVar[tuple[str, ...]] = ("dpo",)

    def rehearsals(self) -> tuple["TrainDPO", "TrainDPO"]:
        """One step, and three, on one batch of rows."""
        tiny = replace(
            self, n_preferences=self.training.batch_size, training=replace(self.training, n_steps=1),
            checkpoints=Checkpoints(),
        )  # fmt: skip
        return tiny, replace(tiny, training=replace(self.training, n_steps=3))

    def work(self, run_dir: Path) -> int:
        """Pairs in training steps, and a third of those that only go forward: all once, held-out ones ten times."""
        train, heldout = (len(_pairs(rows)) for rows in self._rows(run_dir))
        steps = self.training.n_steps
        evaluations = steps // max(1, steps // 10) + 1
        return steps * self.training.batch_size + (train + (1 + evaluations) * heldout) // 3

    def footprint(self, run_dir: Path) -> Footprint:
        """The model, and both sides of a batch of the longest pairs; the reference is asked before training."""
        model = self.policy or run_dir / "sft"
        texts = sorted((row.prompt + text for row in self._rows(run_dir)[0] for text in row.ranking), key=len)
        return Footprint(
            trained=[model], training_tokens=2 * self.training.batch_size * longest_tokens(model, texts[-4:])
        )

    def _rows(self, run_dir: Path) -> tuple[list[Preference], list[Preference]]:
        """Rows to train on, as many as asked for, and rows to judge by."""
        read = partial(read_preferences, on_bad_row=self.on_bad_row)
        train, heldout = read_for_training(run_dir, self.preferences, self.heldout, read=read)
        return train[: self.n_preferences], heldout


def _pairs(preferences: list[Preference]) -> list[dict[str, Any]]:
    """All pairs of every ranking, with their soft labels, as `train_dpo` takes them."""
    return [
        {"prompt": one.prompt, "chosen": better, "rejected": worse, "soft_label": probability, "where": one.where}
        for one in preferences
        for (better, worse), probability in zip(combinations(one.ranking, 2), one.pair_probabilities, strict=True)
    ]
