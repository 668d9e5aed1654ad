"""A reward model from preferences or ratings, judged on held-out ones."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textrl_env.data import OnBadRow, split_rows, warn_of_shared_prompts
from textrl_env.errors import require_count, require_seed
from textrl_env.files import writing
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.resume import CheckpointOptions, describe_experiment
from textrl_env.pipeline.runs import StageStoppedError, read_json, require_path, require_start
from textrl_env.reward_models import Preference, RatedCompletion, TrainingRow, completions_of, read_training_rows
from textrl_env.reward_models.training import RewardModelConfig, RewardModelKind
from textrl_env.training import Interrupt

if TYPE_CHECKING:
    from textrl_env.reward_models import RewardModel

AnyRow = TypeVar("AnyRow", bound=TrainingRow)
HELDOUT_FRACTION = 0.1
"""Of the prompts of preferences that come without held-out ones."""


@dataclass(frozen=True)
class RewardModelOptions:
    """Trains a reward model on preferences or ratings, judges it on held-out ones; writes RUN/reward_model."""

    folder: ClassVar[str] = "reward_model"

    preferences: InputFile | None = None
    """Rows with prompt and chosen, rejected, or ranking, or completion, rating (JSONL or CSV); by default
    RUN/preferences/train.jsonl."""
    heldout: InputFile | None = None
    """Such rows to judge by; by default RUN/preferences/heldout.jsonl, or those of a tenth of your prompts."""
    n_preferences: int | None = None
    """Most rows to train on; by default all."""
    model: Path | None = None
    """The model to start from; by default RUN/sft."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""
    kind: RewardModelKind = field(default_factory=RewardModelKind)
    """What of the model is trained, and how many heads."""
    training: RewardModelConfig = field(default_factory=RewardModelConfig)
    """How to train."""
    checkpoints: CheckpointOptions = field(default_factory=lambda: CheckpointOptions(save_every=100))
    """How often to save, and where to go on."""

    def __post_init__(self) -> None:
        if self.n_preferences is not None:
            require_count(1, n_preferences=self.n_preferences)


def run_reward_model(options: RewardModelOptions, run_dir: Path, seed: int = 0) -> dict[str, Any]:
    """Trains a reward model and writes it to RUN/reward_model.

    Returns:
        The figures of `quality_report` or `rating_report` on the held-out rows, what the loss learnt, its value at
        every step and, with the run's own preferences, the raters' ceiling.

    Raises:
        InputError: an option or a row is wrong, or RUN/sft or RUN/preferences is missing.
        StageStoppedError: a signal ended the training; the model so far is saved.
    """
    require_seed(seed)
    train, heldout = read_reward_rows(options, run_dir)
    start = require_start(options.model, run_dir, own_data=options.preferences is not None)
    files = choose_preference_files(run_dir, options.preferences, options.heldout)
    data = dict(zip(("preferences", "heldout"), files, strict=True))
    experiment = describe_experiment(options, seed, files=data, models={"model": start})
    out = run_dir / options.folder
    path = options.checkpoints.start(out, experiment)

    from textrl_env.reward_models.training import (
        compute_targets,
        create_reward_model,
        create_training,
        encode_rows,
        settle_scores,
    )

    # What does not fit is said now rather than after the model is loaded, or after the training.
    compute_targets(train, options.training)
    reward_model = create_reward_model(start, options.kind, seed=seed)
    heldout, _ = encode_rows(reward_model, heldout, on_bad_row=options.on_bad_row)
    training = create_training(
        reward_model, options.kind, train, options.training, seed=seed, on_bad_row=options.on_bad_row
    )
    training.experiment = experiment
    if path is not None:
        training.load(path)
    saver = options.checkpoints.saver(out)
    with Interrupt() as stop, writing(out):
        curve = training.run(should_stop=stop, saver=saver)
        settle_scores(reward_model, options.kind, training)
        reward_model.save_pretrained(out)
    if stop.requested:
        places = f"{out} and {last}" if (last := saver.last or path) else out
        raise StageStoppedError(
            f"stopped after step {training.step} of {training.n_steps}; saved in {places}; go on with --resume auto",
            stop.exit_code,
        )
    metrics = _judge(reward_model, heldout)
    metrics["loss"] = training.describe_loss()
    metrics["loss_curve"] = [asdict(point) for point in curve]
    raters = run_dir / "preferences" / "metrics.json"
    if options.preferences is None and raters.is_file():
        metrics["ceiling"] = read_json(raters)["ceiling"]
    return metrics


def read_reward_rows(options: RewardModelOptions, run_dir: Path) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """Returns rows to train on, as many as the options ask for, and rows to judge by."""
    read = partial(read_training_rows, on_bad_row=options.on_bad_row)
    train, heldout = read_for_training(run_dir, options.preferences, options.heldout, read=read)
    return train[: options.n_preferences], heldout


def choose_preference_files(run_dir: Path, preferences: Path | None, heldout: Path | None) -> tuple[Path, Path | None]:
    """Returns the files to train on and to judge by, the user's or the run's own; None where a part is held out."""
    folder = run_dir / "preferences"
    return preferences or folder / "train.jsonl", heldout or (None if preferences else folder / "heldout.jsonl")


def read_for_training(
    run_dir: Path, preferences: Path | None, heldout: Path | None, *, read: Callable[[Path], list[AnyRow]]
) -> tuple[list[AnyRow], list[AnyRow]]:
    """Returns rows to train on and rows to judge by: of the user's files, or the run's own.

    Without held-out rows to the user's preferences, those of a tenth of their prompts are held out: the same ones
    whatever the seed, so that runs can be compared. InputError where there are fewer than two rows; a warning where
    held-out rows have prompts that are trained on.
    """
    source, judge_source = choose_preference_files(run_dir, preferences, heldout)
    if preferences is None:
        require_path(source, made_by=f"textrl preferences --run-dir {run_dir}")
    train = read(source)
    if judge_source is not None:
        judge_rows = read(judge_source)
        if heldout:
            prompts = ([row.prompt for row in rows] for rows in (train, judge_rows))
            warn_of_shared_prompts(*prompts, source=str(judge_source))
        return train, judge_rows
    texts = [completions_of(row) for row in train]
    places = split_rows([row.prompt for row in train], texts, HELDOUT_FRACTION, source=str(source))
    train_places, heldout_places = places
    return [train[place] for place in train_places], [train[place] for place in heldout_places]


def _judge(reward_model: "RewardModel", heldout: Sequence[TrainingRow]) -> dict[str, Any]:
    """Returns the figures on held-out preferences or ratings."""
    from textrl_env.reward_models.measuring import quality_report, rating_report, score_pairs

    preferences = [row for row in heldout if isinstance(row, Preference)]
    if preferences:
        pairs = score_pairs(reward_model, preferences)
        return quality_report(replace(pairs, differences=pairs.differences * reward_model.unit))
    return rating_report(reward_model, [row for row in heldout if isinstance(row, RatedCompletion)])
