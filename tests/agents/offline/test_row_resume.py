"""SFT, DPO and KTO that were stopped, killed or damaged end with the bits of one that was left alone."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from textrl_env import InputError
from textrl_env.agents.offline import DPOConfig, KTOConfig, SFTConfig, train_dpo, train_kto, train_sft
from textrl_env.lm.adapters import with_lora
from textrl_env.training import checkpoints
from textrl_env.training.checkpoints import CheckpointSaver, newest_good
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints

PROMPTS = ["ab", "ba", "aa", "bb", "abb"]
DEMONSTRATIONS = [{"prompt": prompt, "completion": prompt[::-1]} for prompt in PROMPTS]
PAIRS = [{"prompt": prompt, "chosen": "a", "rejected": "bb", "soft_label": 0.8} for prompt in PROMPTS]
VERDICTS = [{"prompt": prompt, "completion": "ab", "label": prompt[0] == "a"} for prompt in PROMPTS]
OPTIONS: dict[str, Any] = {"n_steps": 9, "batch_size": 3, "learning_rate": 1e-2}
TRAININGS: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "SFT": (train_sft, DEMONSTRATIONS, SFTConfig(**OPTIONS)),
    "DPO": (train_dpo, PAIRS, DPOConfig(**OPTIONS)),
    "KTO": (train_kto, VERDICTS, KTOConfig(**OPTIONS)),
}

Run = Callable[..., tuple[list[torch.Tensor], Any]]


@pytest.fixture
def run(make_model: Any, tokenizer: Any) -> Run:
    """Trains a fresh model; returns its parameters and what the training returned."""

    def trained(name: str = "SFT", *, kind: str = "gpt2", lora: bool = False, **given: Any) -> Any:
        train, rows, config = TRAININGS[name]
        model = make_model(kind)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.2
        if lora:
            model = with_lora(model, rank=2)
        rows, config = given.pop("rows", rows), replace(config, **given.pop("change", {}))
        found = train(model, tokenizer, rows, config, **{"seed": 0} | given)
        return [value.clone() for value in model.state_dict().values()], found

    return trained


def same(one: tuple[list[torch.Tensor], Any], other: tuple[list[torch.Tensor], Any]) -> bool:
    return one[1] == other[1] and all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))


def after(steps: int) -> Callable[[], bool]:
    """Says stop when it is asked after so many steps."""
    asked = iter(range(100))
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_stopped_and_taken_up_again_it_ends_the_same(name: str, kind: str, run: Run, tmp_path: Path) -> None:
    straight = run(name, kind=kind)
    for step in (2, 9):
        saver = CheckpointSaver(tmp_path / f"{step}", every_updates=100)
        stopped = run(name, kind=kind, saver=saver, should_stop=after(step))
        assert same(stopped, straight) == (step == 9)
        assert same(run(name, kind=kind, resume=saver.last), straight)


def test_adapters_go_on_too(run: Run, tmp_path: Path) -> None:
    saver = CheckpointSaver(tmp_path / "run")
    run(lora=True, saver=saver, should_stop=after(4))
    assert same(run(lora=True, resume=saver.last), run(lora=True))


def test_without_the_generators_it_would_end_elsewhere(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    """Negative controls: the order of the rows and dropout both decide the bits."""
    saver, straight = CheckpointSaver(tmp_path / "run"), run()
    run(saver=saver, should_stop=after(4))
    for name in ("order", "cpu"):
        with monkeypatch.context() as patch:
            load = checkpoints.load

            def spoiled(*given: Any, lost: str = name, load: Any = load) -> Any:
                tensors, state = load(*given)
                tensors["generators"][lost] = torch.Generator().manual_seed(7).get_state()
                return tensors, state

            patch.setattr(checkpoints, "load", spoiled)
            assert not same(run(resume=saver.last), straight)
    assert same(run(resume=saver.last), straight)


def test_saving_on_the_way_changes_nothing_and_a_damaged_newest_one_is_passed_over(run: Run, tmp_path: Path) -> None:
    straight = run()
    assert same(run(saver=CheckpointSaver(tmp_path / "run", every_updates=4, keep=2)), straight)
    found = list_checkpoints(tmp_path / "run")
    assert [path.name for path in found] == ["update-000009", "update-000008"]
    assert {file.suffix for file in found[0].rglob("*") if file.is_file()} == {".json", ".safetensors"}
    os.truncate(found[0] / "policy" / "model.safetensors", 100)
    with pytest.warns(UserWarning, match="going on from .*update-000008"):
        path = newest_good(tmp_path / "run")
    assert same(run(resume=path), straight)


def test_the_log_goes_on_where_the_checkpoint_stands(run: Run, tmp_path: Path) -> None:
    run(log_dir=tmp_path / "straight", heldout=DEMONSTRATIONS)
    saver = CheckpointSaver(tmp_path / "run", every_updates=3)
    # Killed after 8 steps: the newest checkpoint is of step 6, the log has two lines more.
    run(log_dir=tmp_path / "killed", heldout=DEMONSTRATIONS, saver=saver, should_stop=after(8))
    resume = tmp_path / "run" / "update-000006"
    run(log_dir=tmp_path / "killed", heldout=DEMONSTRATIONS, resume=resume)
    logs = [(tmp_path / name / "progress.jsonl").read_text() for name in ("straight", "killed")]
    assert logs[0] == logs[1] and [json.loads(line)["step"] for line in logs[0].splitlines()] == list(range(1, 10))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "seed 0 -> 1"),
        ({"change": {"n_steps": 10}}, "n_steps 9 -> 10"),
        ({"rows": DEMONSTRATIONS[:-1]}, "rows has another content"),
    ],
)
def test_another_training_is_refused(change: dict[str, Any], difference: str, run: Run, tmp_path: Path) -> None:
    saver = CheckpointSaver(tmp_path / "run")
    run(saver=saver, should_stop=after(2))
    with pytest.raises(InputError, match="of another experiment: " + difference):
        run(resume=saver.last, **change)
