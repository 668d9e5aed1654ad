"""`textrl reward-model`: a reward model from preferences or ratings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import tyro

from textrl_env.cli.checkpoints import Checkpoints
from textrl_env.cli.memory import Footprint, longest_tokens
from textrl_env.cli.optional import OptionalInt, OptionalPath
from textrl_env.cli.run_folder import existing, existing_model, read_json
from textrl_env.cli.stage import Stopped
from textrl_env.data import OnBadRow
from textrl_env.errors import InputError, require_at_least
from textrl_env.reward_models import Preference, RatedCompletion, TrainingRow, completions_of, read_training_rows
from textrl_env.reward_models.training import RewardModelConfig, RewardModelKind
from textrl_env.training import Interrupt

if TYPE_CHECKING:
    from textrl_env.reward_models import RewardModel

AnyRow = TypeVar("AnyRow")


@dataclass(frozen=True)
class TrainRewardModel:
    """Trains a reward model on preferences or ratings, judges it on held-out ones; writes RUN/reward_model."""

    folder: ClassVar[str] = "reward_model"

    preferences: OptionalPath = None
    """Rows with prompt and chosen, rejected, or ranking, or completion, rating (JSONL or CSV); by default
    RUN/preferences/train.jsonl."""
    heldout: OptionalPath = None
    """Such rows to judge by; by default RUN/preferences/heldout.jsonl, or a tenth of yours."""
    n_preferences: OptionalInt = None
    """Most rows to train on; by default all."""
    model: OptionalPath = None
    """The model to start from; by default RUN/sft."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    kind: Annotated[RewardModelKind, tyro.conf.arg(name="")] = field(default_factory=RewardModelKind)
    """What of the model is trained, and how many heads."""
    training: Annotated[RewardModelConfig, tyro.conf.arg(name="")] = field(default_factory=RewardModelConfig)
    """How to train."""
    checkpoints: Annotated[Checkpoints, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Checkpoints(save_every=100)
    )
    """How often to save, and where to go on."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Trains; the metrics are those of `quality_report` or `rating_report` on the held-out rows, what the loss
        learned, and its value at every step.
        """
        if self.n_preferences is not None:
            require_at_least(1, n_preferences=self.n_preferences)
        train, heldout = self._rows(run_dir)
        start = existing_model(
            self.model or run_dir / "sft",
            made_by=f"textrl sft --run-dir {run_dir}" + (" --demonstrations YOURS.jsonl" if self.preferences else ""),
        )

        from textrl_env.reward_models.training import (
            compute_targets,
            create_reward_model,
            create_training,
            encode_rows,
            settle_scores,
        )
        from textrl_env.training.checkpoints import writing

        # What does not fit is said now rather than after the model is loaded, or after the training.
        compute_targets(train, self.training)
        reward_model = create_reward_model(start, self.kind, seed=seed)
        encode_rows(reward_model, heldout)
        out = run_dir / self.folder
        training = create_training(reward_model, self.kind, train, self.training, seed=seed)
        if path := self.checkpoints.start(out):
            training.load(path)
        saver = self.checkpoints.saver(out)
        with Interrupt() as stop, writing(out):
            curve = training.run(should_stop=stop, saver=saver)
            settle_scores(reward_model, self.kind, training)
            reward_model.save_pretrained(out)
        if stop.requested:
            saved = f"{out} and {last}" if (last := saver.last or path) else out
            raise Stopped(
                f"stopped after step {training.step} of {training.n_steps}; saved in {saved}; go on with --resume auto",
                stop.exit_code,
            )
        metrics = judged(reward_model, heldout)
        metrics["loss"] = training.learned()
        metrics["loss_curve"] = [asdict(point) for point in curve]
        raters = run_dir / "preferences" / "metrics.json"
        if self.preferences is None and raters.is_file():
            metrics["ceiling"] = read_json(raters)["ceiling"]
        return metrics

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        ceiling = f" (the raters' own ceiling is {metrics['ceiling']:.3f})" if "ceiling" in metrics else ""
        judged = "no two held-out ratings differ, so nothing says how good it is"
        if metrics["n_pairs"]:
            judged = f"accuracy {metrics['accuracy']:.3f} on {metrics['n_pairs']} held-out pairs{ceiling}"
        yield f"{judged}; the reward model is in {run_dir / self.folder}"
        own = f" --policy {self.model}" if self.model else ""
        own += " --prompts YOURS.jsonl" if self.preferences else ""
        yield f"next: textrl ppo --run-dir {run_dir}{own}"

    writes: ClassVar[tuple[str, ...]] = ("reward_model",)

    def rehearsals(self) -> tuple["TrainRewardModel", "TrainRewardModel"]:
        """One step, and three; of a frozen trunk that is one batch of rows, and three."""
        tiny = replace(
            self, n_preferences=self.training.batch_size, training=replace(self.training, n_epochs=1),
            checkpoints=Checkpoints(),
        )  # fmt: skip
        if self.kind.train == "head":
            return tiny, replace(tiny, n_preferences=3 * self.training.batch_size)
        return tiny, replace(tiny, training=replace(tiny.training, n_epochs=3))

    def work(self, run_dir: Path) -> int:
        """Rows that go through the model; with a frozen trunk each does so once."""
        return (1 if self.kind.train == "head" else self.training.n_epochs) * len(self._rows(run_dir)[0])

    def footprint(self, run_dir: Path) -> Footprint:
        """The model, and a batch of rows with all completions of each."""
        model = self.model or run_dir / "sft"
        rows = self._rows(run_dir)[0]
        texts = sorted((row.prompt + text for row in rows for text in completions_of(row)), key=len)
        if self.kind.train == "head":
            return Footprint(frozen=[model])
        completions = self.training.batch_size * max(len(completions_of(row)) for row in rows)
        return Footprint(trained=[model], training_tokens=completions * longest_tokens(model, texts[-4:]))

    def _rows(self, run_dir: Path) -> tuple[list[TrainingRow], list[TrainingRow]]:
        """Rows to train on, as many as asked for, and rows to judge by."""
        read = partial(read_training_rows, on_bad_row=self.on_bad_row)
        train, heldout = read_for_training(run_dir, self.preferences, self.heldout, read=read)
        return train[: self.n_preferences], heldout


def judged(reward_model: "RewardModel", heldout: Sequence[TrainingRow]) -> dict[str, Any]:
    """The figures on held-out preferences or ratings."""
    from textrl_env.reward_models.measuring import quality_report, rating_report, score_pairs

    preferences = [row for row in heldout if isinstance(row, Preference)]
    if preferences:
        pairs = score_pairs(reward_model, preferences)
        return quality_report(replace(pairs, differences=pairs.differences * reward_model.unit))
    return rating_report(reward_model, [row for row in heldout if isinstance(row, RatedCompletion)])


def read_for_training(
    run_dir: Path, preferences: Path | None, heldout: Path | None, *, read: Callable[[Path], list[AnyRow]]
) -> tuple[list[AnyRow], list[AnyRow]]:
    """Rows to train on and rows to judge by: of given files, or the run's own."""
    own = run_dir / "preferences"
    source = preferences or existing(own / "train.jsonl", made_by=f"textrl preferences --run-dir {run_dir}")
    train = read(source)
    if judged_by := heldout or (None if preferences else own / "heldout.jsonl"):
        return train, read(judged_by)
    if len(train) < 2:
        raise InputError(f"{source}: two rows or more are needed, found {len(train)}")
    cut = max(1, len(train) // 10)
    return train[:-cut], train[-cut:]
