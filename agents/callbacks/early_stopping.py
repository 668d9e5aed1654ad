"""Early stopping: the best policy of a training run is kept, and training ends where the KL is too large."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.errors import InputError, require_above
from textrl_env.files import replacing, write_text

FILE = "best.json"


class KeepBest(BaseCallback):
    """Keeps the policy whose logged metric was highest, as a folder that `AutoModelForCausalLM` loads.

    It is saved when the metric is logged, before the update: the policy that is kept is the one that was measured.
    `best.json` beside it says how good it was and when. A resumed run goes on from there, a new one starts afresh.

    Args:
        folder: replaced as a whole, at once.
        metric: the tag to maximise; by default the objective on held-out prompts, which `EvaluateOnPrompts` logs.
        export: writes a causal LM into an empty folder; by default its weights and the environment's tokenizer.

    Attributes:
        value: of the policy kept; minus infinity before there is one.
        n_updates: the updates that it had.
    """

    def __init__(
        self, folder: str | Path, metric: str = "eval/rlhf_reward", *, export: Callable[[Any, Path], None] | None = None
    ) -> None:
        super().__init__()
        self.folder, self.metric, self.export = Path(folder), metric, export or self._export
        self.value, self.n_updates = -math.inf, 0

    def _on_training_start(self) -> None:
        file = self.folder / FILE
        if self.model.position > (0, 0) and file.is_file():  # type: ignore[attr-defined]
            record = json.loads(file.read_text())
            if record["metric"] == self.metric:
                self.value, self.n_updates = record["value"], record["n_updates"]

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._keep()
        if self.value == -math.inf:
            tags = ", ".join(sorted(self.logger.name_to_value))
            raise InputError(f"no tag {self.metric!r} to keep the best policy by; logged before KeepBest: {tags}")

    def _on_training_end(self) -> None:
        self._keep()

    def _keep(self) -> None:
        algorithm: Any = self.model
        value = self.logger.name_to_value.get(self.metric)
        if value is None or not value > self.value:
            return
        self.value, self.n_updates = float(value), int(algorithm.n_updates)
        policy = algorithm.policy.whole_policy()
        algorithm.processes.by_writer(lambda: self._write(policy))

    def _write(self, policy: Any) -> None:
        record = {"metric": self.metric, "value": self.value, "n_updates": self.n_updates}
        with replacing(self.folder) as new:
            self.export(policy, new)
            write_text(new / FILE, json.dumps(record, indent=1) + "\n")

    def _export(self, policy: Any, folder: Path) -> None:
        policy.save_pretrained(folder)
        algorithm: Any = self.model
        tokenizer = algorithm.env.task.tokenizer
        # The worlds' own tokenizers are made from the world, not read from a file.
        if hasattr(tokenizer, "save_pretrained"):
            tokenizer.save_pretrained(folder)


class StopOnKL(BaseCallback):
    """Ends training once the policy is too far from its reference.

    The update of the rollout that was too far is still made: Stable-Baselines3's callbacks end training only between
    steps of the environment.

    Args:
        max_kl: the largest mean KL of a rollout, in nats per completion; above 0.

    Attributes:
        stopped_at: the KL that ended training, or None.
    """

    def __init__(self, max_kl: float) -> None:
        super().__init__()
        require_above(0, max_kl=max_kl)
        self.max_kl = max_kl
        self.stopped_at: float | None = None

    def _on_training_start(self) -> None:
        self.stopped_at = None

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        kl = float(algorithm.rollout.kl.mean())
        if kl > self.max_kl:
            self.stopped_at = kl

    def _on_step(self) -> bool:
        return self.stopped_at is None
