"""`textrl reward-model`: a reward model from preferences."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from textrl_env.cli.memory import Footprint, longest_tokens
from textrl_env.cli.run_folder import existing, existing_model, read_json
from textrl_env.cli.stage import Stopped
from textrl_env.errors import InputError, require_at_least
from textrl_env.interrupt import Interrupt
from textrl_env.reward_models.preferences import Preference, read_preferences
from textrl_env.reward_models.training_config import RewardModelConfig
from textrl_env.rows import OnBadRow


@dataclass(frozen=True)
class TrainRewardModel:
    """Trains a reward model on preferences and judges it on held-out ones; writes RUN/reward_model."""

    folder: ClassVar[str] = "reward_model"

    preferences: Path | None = None
    """JSONL with prompt, chosen, rejected (and ranking); by default RUN/preferences/train.jsonl."""
    heldout: Path | None = None
    """The same for judging; by default RUN/preferences/heldout.jsonl, or the last tenth of `preferences`."""
    n_preferences: int | None = None
    """Most preferences to train on; by default all."""
    model: Path | None = None
    """The model to start from; by default RUN/sft."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    training: Annotated[RewardModelConfig, tyro.conf.arg(name="")] = field(default_factory=RewardModelConfig)
    """How to train."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Trains; the metrics are those of `quality_report` on the held-out pairs, and the loss of every step."""
        if self.n_preferences is not None:
            require_at_least(1, n_preferences=self.n_preferences)
        train, heldout = self._preferences(run_dir)
        start = existing_model(self.model or run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")

        from textrl_env.reward_models import RewardModel, train_reward_model
        from textrl_env.reward_models.quality import quality_report, score_pairs
        from textrl_env.reward_models.training import encode_rows

        reward_model = RewardModel.from_pretrained(start, seed=seed)
        # A row that is too long is named now rather than after the training.
        encode_rows(reward_model, heldout)
        out = run_dir / self.folder
        with Interrupt() as stop:
            curve = train_reward_model(reward_model, train, self.training, seed=seed, should_stop=stop)
        reward_model.save_pretrained(out)
        if stop.requested:
            raise Stopped(
                f"stopped before the end of reward-model training; the model so far is in {out}", stop.exit_code
            )
        metrics = quality_report(score_pairs(reward_model, heldout))
        metrics["loss_curve"] = [asdict(point) for point in curve]
        raters = run_dir / "preferences" / "metrics.json"
        if self.preferences is None and raters.is_file():
            metrics["ceiling"] = read_json(raters)["ceiling"]
        return metrics

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        ceiling = f" (the raters' own ceiling is {metrics['ceiling']:.3f})" if "ceiling" in metrics else ""
        yield (
            f"accuracy {metrics['accuracy']:.3f} on {metrics['n_pairs']} held-out pairs{ceiling}; the reward model is "
            f"in {run_dir / self.folder}"
        )
        yield f"next: textrl ppo --run-dir {run_dir}" + (" --prompts YOURS.jsonl" if self.preferences else "")

    writes: ClassVar[tuple[str, ...]] = ("reward_model",)

    def rehearsals(self) -> tuple["TrainRewardModel", "TrainRewardModel"]:
        """One step, and three epochs of one step."""
        tiny = replace(self, n_preferences=self.training.batch_size, training=replace(self.training, n_epochs=1))
        return tiny, replace(tiny, training=replace(self.training, n_epochs=3))

    def work(self, run_dir: Path) -> int:
        """Preferences in training steps."""
        return self.training.n_epochs * len(self._preferences(run_dir)[0])

    def footprint(self, run_dir: Path) -> Footprint:
        """The model, and a batch of preferences with all completions of each."""
        model = self.model or run_dir / "sft"
        rows = self._preferences(run_dir)[0]
        texts = sorted((row.prompt + text for row in rows for text in row.ranking), key=len)
        completions = self.training.batch_size * max(len(row.ranking) for row in rows)
        return Footprint(trained=[model], training_tokens=completions * longest_tokens(model, texts[-4:]))

    def _preferences(self, run_dir: Path) -> tuple[list[Preference], list[Preference]]:
        """Preferences to train on, as many as asked for, and preferences to judge by."""
        train, heldout = read_for_training(run_dir, self.preferences, self.heldout, on_bad_row=self.on_bad_row)
        return train[: self.n_preferences], heldout


def read_for_training(
    run_dir: Path, preferences: Path | None, heldout: Path | None, *, on_bad_row: OnBadRow
) -> tuple[list[Preference], list[Preference]]:
    """Preferences to train on and preferences to judge by: given files, or the run's own."""
    own = run_dir / "preferences"
    source = preferences or existing(own / "train.jsonl", made_by=f"textrl preferences --run-dir {run_dir}")
    train = read_preferences(source, on_bad_row=on_bad_row)
    if judged_by := heldout or (None if preferences else own / "heldout.jsonl"):
        return train, read_preferences(judged_by, on_bad_row=on_bad_row)
    if len(train) < 2:
        raise InputError(f"{source}: two preferences or more are needed, found {len(train)}")
    cut = max(1, len(train) // 10)
    return train[:-cut], train[-cut:]
