"""A training that was stopped, killed or damaged ends with the bits of one that was left alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from textrl_env import InputError
from textrl_env.reward_models import Preference, RewardModelConfig
from textrl_env.reward_models.training import RewardModelTraining
from textrl_env.reward_models.training_rows import RatedCompletion, TrainingRow
from textrl_env.training.checkpoints import CheckpointSaver, newest_good
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints

PREFERENCES: list[TrainingRow] = [
    Preference("p", ("a" * n, "b" * (n % 3)), (1.0, 0.5)[n % 2], weight=1 + n % 2) for n in range(1, 14)
]
RATINGS: list[TrainingRow] = [RatedCompletion("p", "ab" * n, float(n % 4)) for n in range(13)]
CONFIG = RewardModelConfig(n_epochs=3, batch_size=4, learning_rate=1e-2)

Make = Callable[..., RewardModelTraining]


@pytest.fixture
def make(make_reward_model: Any) -> Make:
    """A training of a model with dropout, whose masks come from a generator that has to go on too."""

    def made(
        rows: list[TrainingRow] = PREFERENCES, *, seed: int = 0, kind: str = "gpt2", **options: Any
    ) -> RewardModelTraining:
        reward_model = make_reward_model(kind)
        for module in reward_model.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.2
        config = RewardModelConfig(**(vars(CONFIG) | options))
        return RewardModelTraining(reward_model, rows, config, seed=seed)

    return made


def bits(training: RewardModelTraining) -> list[torch.Tensor]:
    moments = training.optimizer.state_dict()["state"]
    return [
        *training.reward_model.model.state_dict().values(),
        training.thresholds.detach(),
        *(value for _, entry in sorted(moments.items()) for _, value in sorted(entry.items())),
        torch.tensor([point.loss for point in training.curve], dtype=torch.float64),
    ]


def same(one: RewardModelTraining, other: RewardModelTraining) -> bool:
    return all(torch.equal(a, b) for a, b in zip(bits(one), bits(other), strict=True))


def stop_after(training: RewardModelTraining, step: int) -> Callable[[], bool]:
    return lambda: training.step >= step


CASES = [("pairs", PREFERENCES, "gpt2"), ("davidson", PREFERENCES, "llama"), ("ordinal", RATINGS, "gpt2")]


@pytest.mark.parametrize(("loss", "rows", "kind"), CASES)
def test_stopped_anywhere_and_taken_up_again_it_ends_the_same(
    loss: str, rows: list[TrainingRow], kind: str, make: Make, tmp_path: Path
) -> None:
    straight = make(rows, loss=loss, kind=kind)
    curve = straight.run()
    assert len(curve) == straight.n_steps == 12 and all(point.step == at for at, point in enumerate(curve, 1))
    for step in (0, 5, 12):
        stopped = make(rows, loss=loss, kind=kind)
        stopped.run(should_stop=stop_after(stopped, step))
        assert stopped.step == step
        stopped.save(tmp_path / f"{step}")
        resumed = make(rows, loss=loss, kind=kind).load(tmp_path / f"{step}")
        assert resumed.step == step and same(resumed, stopped)
        resumed.run()
        assert same(resumed, straight)
        # The one that was stopped goes on by itself as well.
        stopped.run()
        assert same(stopped, straight)


def test_dropout_and_order_are_part_of_it(make: Make) -> None:
    """Negative controls: each of them changes the bits."""
    trainings = [make(), make(), make(seed=1)]
    for module in trainings[1].reward_model.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for training in trainings:
        training.run()
    assert not same(trainings[0], trainings[1]) and not same(trainings[0], trainings[2])


def test_checkpoints_come_as_often_as_asked_and_saving_changes_nothing(make: Make, tmp_path: Path) -> None:
    straight, saving = make(), make()
    straight.run()
    saving.run(saver=CheckpointSaver(tmp_path / "run", every_updates=5, keep=2))
    assert [path.name for path in list_checkpoints(tmp_path / "run")] == ["update-000012", "update-000010"]
    assert same(straight, saving)
    resumed = make().load(tmp_path / "run" / "update-000010")
    resumed.run()
    assert same(straight, resumed)


def test_only_safetensors_and_json_are_in_it_and_the_model_loads_elsewhere(make: Make, tmp_path: Path) -> None:
    training = make()
    training.run()
    path = training.save(tmp_path / "run")
    assert {file.suffix for file in path.rglob("*") if file.is_file()} == {".json", ".safetensors"}
    loaded = type(training.reward_model).from_pretrained(path / "reward_model")  # type: ignore[attr-defined]
    sequences = [training.token_ids[0][0], training.token_ids[3][1]]
    torch.testing.assert_close(loaded.forward(sequences), training.reward_model.forward(sequences))


def test_a_damaged_newest_one_is_passed_over(make: Make, tmp_path: Path) -> None:
    straight = make()
    straight.run(saver=CheckpointSaver(tmp_path / "run", every_updates=5))
    os.truncate(tmp_path / "run" / "update-000012" / "trainer" / "optimizer.safetensors", 100)
    with pytest.warns(UserWarning, match=r"optimizer.safetensors is missing or damaged.*going on from .*update-000010"):
        path = newest_good(tmp_path / "run")
    assert path is not None
    resumed = make().load(path)
    with pytest.warns(UserWarning, match="earlier course of the run"):
        resumed.run(saver=CheckpointSaver(tmp_path / "run", every_updates=5))
    assert same(straight, resumed)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"kind": "llama"}, "parameters has another content"),
        ({"seed": 1}, "seed 0 -> 1"),
        ({"n_epochs": 4}, "n_epochs 3 -> 4"),
        ({"loss": "davidson"}, 'loss "auto" -> "davidson"'),
        ({"rows": PREFERENCES[:-1]}, "rows has another content"),
        ({"label_smoothing": 0.1}, "label_smoothing 0.0 -> 0.1"),
    ],
)
def test_another_training_is_refused_and_left_as_it_was(
    change: dict[str, Any], difference: str, make: Make, tmp_path: Path
) -> None:
    first = make()
    first.run(should_stop=stop_after(first, 2))
    first.save(tmp_path / "run")
    other = make(**change)
    before = [value.clone() for value in bits(other)]
    with pytest.raises(InputError, match=f"of another experiment: .*{difference}"):
        other.load(tmp_path / "run")
    assert all(torch.equal(one, now) for one, now in zip(before, bits(other), strict=True))


def test_a_loss_that_is_not_a_number_leaves_the_last_checkpoint(make: Make, tmp_path: Path) -> None:
    training = make()
    saver = CheckpointSaver(tmp_path / "run", every_updates=2)

    def spoil() -> bool:
        if training.step == 5:
            with torch.no_grad():
                training.reward_model.model.score.weight.fill_(torch.nan)
        return False

    with pytest.raises(InputError, match=r"the loss is nan.* at step 6, .*last checkpoint is .*update-000004"):
        training.run(should_stop=spoil, saver=saver)
    resumed, straight = make().load(tmp_path / "run" / "update-000004"), make()
    resumed.run()
    straight.run()
    assert same(resumed, straight)
