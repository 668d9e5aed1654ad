"""`textrl reward-model`: a reward model from preferences."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from textrl_env.cli.run_folder import existing, existing_model, write_json
from textrl_env.errors import InputError
from textrl_env.reward_models.preferences import read_preferences
from textrl_env.reward_models.training_config import RewardModelConfig
from textrl_env.rows import OnBadRow


@dataclass(frozen=True)
class TrainRewardModel:
    """Trains a reward model on preferences and judges it on held-out ones; writes RUN/reward_model."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    preferences: Path | None = None
    """JSONL with prompt, chosen, rejected (and ranking); by default RUN/preferences/train.jsonl."""
    heldout: Path | None = None
    """The same for judging; by default RUN/preferences/heldout.jsonl, or the last tenth of `preferences`."""
    model: Path | None = None
    """The model to start from; by default RUN/sft."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    training: RewardModelConfig = field(default_factory=RewardModelConfig)
    """How to train."""
    seed: int = 0
    """Of the score head and of the order of the preferences."""

    def run(self) -> dict[str, Any]:
        """Trains, writes the model and metrics.json, and returns the metrics."""
        source = self.preferences or existing(
            self.run_dir / "preferences" / "train.jsonl", made_by="textrl preferences"
        )
        train = read_preferences(source, on_bad_row=self.on_bad_row)
        heldout_file = self.heldout or (None if self.preferences else self.run_dir / "preferences" / "heldout.jsonl")
        if heldout_file is not None:
            heldout = read_preferences(heldout_file, on_bad_row=self.on_bad_row)
        else:
            if len(train) < 2:
                raise InputError(f"{source}: two preferences or more are needed, found {len(train)}")
            cut = max(1, len(train) // 10)
            train, heldout = train[:-cut], train[-cut:]
        model = self.model or existing_model(self.run_dir / "sft", made_by="textrl sft")

        from textrl_env.reward_models import RewardModel, train_reward_model
        from textrl_env.reward_models.quality import quality_report, score_pairs

        reward_model = RewardModel.from_pretrained(model, seed=self.seed)
        curve = train_reward_model(reward_model, train, replace(self.training, seed=self.seed))
        report = quality_report(score_pairs(reward_model, heldout))
        report["loss_curve"] = [asdict(point) for point in curve]
        raters = self.run_dir / "preferences" / "metrics.json"
        if self.preferences is None and raters.is_file():
            report["ceiling"] = json.loads(raters.read_text())["ceiling"]
        out = self.run_dir / "reward_model"
        reward_model.save_pretrained(out)
        write_json(out / "metrics.json", report)
        return report
