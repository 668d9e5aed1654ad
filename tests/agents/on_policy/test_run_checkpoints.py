"""Which checkpoint of a run is taken, which are kept, and what becomes of another run's."""

from pathlib import Path
from typing import Any

import pytest

from textrl_env import InputError
from textrl_env.agents.on_policy import SaveCheckpoints
from textrl_env.training.checkpoints import newest_good
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints, prune


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage(path: Path) -> None:
    file = path / "policy" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.fixture
def folder(make_ppo: Any, tmp_path: Path) -> Path:
    """Checkpoints after updates 1, 2 and 3."""
    callback = SaveCheckpoints(tmp_path / "run", every_updates=1, keep=3)
    make_ppo(n_epochs=1, critic="shared").learn(total_updates=3, callback=callback)
    assert names(tmp_path / "run") == ["update-000001", "update-000002", "update-000003"]
    return tmp_path / "run"


def test_a_damaged_newest_one_is_named_and_the_one_before_is_taken(folder: Path) -> None:
    assert newest_good(folder) == newest_good(str(folder)) == folder / "update-000003"
    damage(folder / "update-000003")
    with pytest.warns(
        UserWarning, match=r"update-000003: policy/model.safetensors is missing or damaged.*going on fro"
    ):
        assert newest_good(folder) == folder / "update-000002"
    (folder / "update-000002" / "manifest.json").write_text("{}")
    with pytest.warns(UserWarning, match="going on from .*update-000001") as told:
        assert newest_good(folder) == folder / "update-000001"
    assert "model.safetensors is missing" in str(told[0].message) and "manifest.json is dam" in str(told[1].message)
    damage(folder / "update-000001")
    with pytest.raises(InputError, match=r"none of the 3 checkpoints is whole; the newest: .*update-000003"):
        newest_good(folder)
    assert newest_good(folder / "nothing") is None


def test_retention_counts_good_ones_only(folder: Path) -> None:
    damage(folder / "update-000003")
    prune(folder, keep=1)
    assert names(folder) == ["update-000002", "update-000003"]
    damage(folder / "update-000002")
    prune(folder, keep=1)
    assert names(folder) == ["update-000002", "update-000003"]


def test_as_many_stay_as_are_to_be_kept(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo(n_epochs=1)
    ppo.learn(total_updates=7, callback=SaveCheckpoints(tmp_path / "run", every_updates=2, keep=2))
    assert names(tmp_path / "run") == ["update-000006", "update-000007"]
    assert ppo.last_checkpoint == tmp_path / "run" / "update-000007"
    for wrong in ({"every_updates": 0}, {"keep": 0}):
        with pytest.raises(InputError, match="must be at least 1, got 0"):
            SaveCheckpoints(tmp_path, **wrong)


def test_an_update_that_was_stopped_is_later_than_the_one_before_it(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo()
    ppo.learn(total_updates=3, callback=SaveCheckpoints(tmp_path / "run"), should_stop=lambda: ppo.position == (1, 2))
    assert names(tmp_path / "run") == ["update-000001-002"]
    ppo.save(tmp_path / "run" / "update-000001")
    ppo.save(tmp_path / "run" / "update-000002")
    assert [path.name[-5:] for path in list_checkpoints(tmp_path / "run")] == ["00002", "1-002", "00001"]


def test_a_new_run_sets_an_older_ones_checkpoints_aside(folder: Path, make_ppo: Any) -> None:
    older = {path.name: (path / "manifest.json").read_text() for path in list_checkpoints(folder)}
    with pytest.warns(UserWarning, match=r"earlier course of the run are now in .*run\.old"):
        make_ppo(seed=5).learn(total_updates=1, callback=SaveCheckpoints(folder))
    assert names(folder) == ["update-000001"]
    aside = folder.with_name("run.old")
    assert {path.name: (path / "manifest.json").read_text() for path in list_checkpoints(aside)} == older


def test_a_run_that_goes_on_from_an_earlier_checkpoint_sets_the_later_ones_aside(folder: Path, make_ppo: Any) -> None:
    ppo = make_ppo(n_epochs=1, critic="shared").load(folder / "update-000002")
    with pytest.warns(UserWarning, match="are now in"):
        ppo.learn(total_updates=2, callback=SaveCheckpoints(folder, keep=5))
    assert names(folder) == ["update-000001", "update-000002", "update-000004"]
    assert names(folder.with_name("run.old")) == ["update-000003"]


def test_what_killed_processes_left_is_swept(folder: Path, make_ppo: Any) -> None:
    for name in (".update-000009.textrl-new", ".update-000002.textrl-old"):
        (folder / name / "policy").mkdir(parents=True)
    ppo = make_ppo(n_epochs=1, critic="shared").load(folder / "update-000003")
    ppo.learn(total_updates=1, callback=SaveCheckpoints(folder))
    assert names(folder) == ["update-000003", "update-000004"]
