"""kill -9, a full disk and SIGTERM at the calls that change files: `--resume auto` ends as the run left alone.

`make test` tries some of the calls, `make crash` all.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents.offline import DPOConfig, SFTConfig
from textrl_env.pipeline import (
    DPOOptions,
    PPOOptions,
    RewardModelOptions,
    SFTOptions,
    run_dpo,
    run_ppo,
    run_reward_model,
    run_sft,
)
from textrl_env.pipeline.resume import CheckpointOptions
from textrl_env.pipeline.runs import run_stage
from textrl_env.reward_models.training import RewardModelConfig
from textrl_env.training.checkpoints.run_checkpoints import list_checkpoints
from textrl_env.worlds import support_desk

SAMPLE = int(os.environ.get("CRASH_SAMPLE", "3"))
"""Calls that are tried of each stage, fault and part; 0 tries all."""
Child = Callable[..., tuple[int, int]]
EACH_UPDATE = CheckpointOptions(resume="auto", save_every=1)


@dataclass(frozen=True)
class Stage:
    """A stage at its smallest, and what it leaves."""

    run: Callable[..., dict[str, Any]]
    options: Any
    exports: str

    def start(self, folder: Path) -> None:
        run_stage(self.run, self.options, folder)

    def results(self, folder: Path) -> dict[str, Any]:
        out = folder / self.options.folder
        newest = list_checkpoints(out / "checkpoints")[0]
        logs = {}
        for name in ("progress.jsonl", "samples.jsonl"):
            lines = (out / name).read_text().splitlines() if (out / name).exists() else []
            rows = [{tag: value for tag, value in json.loads(line).items() if tag != "time/fps"} for line in lines]
            logs[name] = rows
        export = folder / self.exports
        return {
            **logs,
            "newest": newest.name,
            "checkpoint": {str(file.relative_to(newest)): file.read_bytes() for file in newest.rglob("*.*")},
            "model": (export / "model.safetensors").read_bytes(),
            "exported": sorted(
                file.name for file in export.iterdir() if file.is_file() and "tfevents" not in file.name
            ),
            "metrics": json.loads((out / "metrics.json").read_text()),
            "csv lines": len((out / "progress.csv").read_text().splitlines()) if (out / "progress.csv").exists() else 0,
            "remains": [str(path) for path in folder.rglob("*") if ".textrl-" in path.name],
        }


def make_stages(folder: Path) -> dict[str, Stage]:
    rows = support_desk.demonstrations(60, seed=0)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:8]))
    pairs = [{"prompt": row["prompt"], "chosen": row["completion"], "rejected": "no"} for row in rows]
    for name, part in {"pairs": pairs[:4], "heldout": pairs[4:6]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    for name, part in {"prompts": rows[:8], "heldout-prompts": rows[8:10]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in part))
    judged: dict[str, Any] = {"preferences": folder / "pairs.jsonl", "heldout": folder / "heldout.jsonl"}
    return {
        "sft": Stage(
            run_sft,
            SFTOptions(
                demonstrations=folder / "rows.jsonl",
                hidden_size=16,
                layers=1,
                vocab_size=300,
                training=SFTConfig(n_steps=2, batch_size=2),
                checkpoints=EACH_UPDATE,
            ),
            "sft",
        ),
        "reward_model": Stage(
            run_reward_model,
            RewardModelOptions(**judged, training=RewardModelConfig(n_epochs=1, batch_size=2), checkpoints=EACH_UPDATE),
            "reward_model",
        ),
        "dpo": Stage(
            run_dpo,
            DPOOptions(**judged, training=DPOConfig(n_steps=2, batch_size=2), checkpoints=EACH_UPDATE),
            "dpo/policy",
        ),
        "ppo": Stage(
            run_ppo,
            PPOOptions(
                prompts=folder / "prompts.jsonl",
                heldout=folder / "heldout-prompts.jsonl",
                n_updates=2,
                n_episodes=4,
                batch_size=4,
                n_epochs=1,
                max_new_tokens=4,
                watch_every=1,
                checkpoints=EACH_UPDATE,
            ),
            "policy",
        ),
    }


NEEDS = {"sft": (), "reward_model": ("sft",), "dpo": ("sft",), "ppo": ("sft", "reward_model")}


class Trial:
    """A stage, the run of it that was left alone, and a folder to start from for those that are not."""

    def __init__(self, name: str, run_dir: Path, folder: Path, in_child: Child) -> None:
        self.name, self.folder, self.in_child = name, folder, in_child
        self.stage = make_stages(folder)[name]
        (folder / "start").mkdir()
        for model in NEEDS[name]:
            shutil.copytree(run_dir / model, folder / "start" / model)
        straight = self.copy("start", "straight")
        code, self.n_calls = in_child(lambda: self.stage.start(straight), straight)
        assert code == 0, self.log(straight)
        self.expected = self.stage.results(straight)
        assert not self.expected["remains"]
        self.good: set[str] = set()

    def copy(self, source: str, name: str) -> Path:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Path(shutil.copytree(self.folder / source, self.folder / name))

    def log(self, folder: Path) -> str:
        return folder.with_name(f"{folder.name}.log").read_text()

    def crash(self, source: str, fault: str, at: int) -> Path:
        """The folder in which a run met the fault; it may end so, stop, or say one line, and nothing else."""
        folder = self.copy(source, "trial")
        code, _ = self.in_child(lambda: self.stage.start(folder), folder, fault, at)
        log = self.log(folder)
        allowed = {"kill": {-9}, "full": {0, 2}, "term": {0, 143, -15}}[fault]
        assert code in allowed and "Traceback" not in log, f"{self.name} {fault} {at}: {code}\n{log}"
        return folder

    def finish(self, folder: Path, note: str) -> None:
        """Goes on with the run, and compares the end with that of the run that was left alone."""
        state = digest_tree(folder)
        if state in self.good:
            return
        code, _ = self.in_child(lambda: self.stage.start(folder), folder)
        log = self.log(folder)
        assert code == 0 and "Traceback" not in log, f"{note}: {code}\n{log}"
        results = self.stage.results(folder)
        different = [name for name, value in self.expected.items() if results[name] != value]
        assert not different, f"{note}: {different}\n{[(results[n], self.expected[n]) for n in different][:1]!s:.3000}"
        self.good.add(state)


def digest_tree(folder: Path) -> str:
    """Of all that a run goes on from."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if "tfevents" not in path.name and path.name != ".textrl-lock":
            content = path.read_bytes() if path.is_file() else b""
            total.update(f"{path.relative_to(folder)} {path.is_file()}\n".encode() + hashlib.sha256(content).digest())
    return total.hexdigest()


def choose_calls(n_calls: int) -> list[int]:
    return sorted(random.Random(n_calls).sample(range(n_calls), SAMPLE)) if SAMPLE else list(range(n_calls))


@pytest.fixture(scope="module")
def trials(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    return {}


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    trials: dict[str, Trial],
    run_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    in_child: Child,
) -> Trial:
    name = request.param
    if name not in trials:
        trials[name] = Trial(name, run_dir, tmp_path_factory.mktemp(name), in_child)
    return trials[name]


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("fault", ["kill", "full", "term"])
@pytest.mark.parametrize("trial", ["sft", "reward_model", "dpo", "ppo"], indirect=True)
def test_a_run_that_a_fault_met_anywhere_ends_as_if_it_had_not(trial: Trial, fault: str) -> None:
    calls = choose_calls(trial.n_calls)
    for at in calls:
        trial.finish(trial.crash("start", fault, at), f"{trial.name}, {fault} at call {at} of {trial.n_calls}")
    print(f"{trial.name}, {fault}: {len(calls)} of {trial.n_calls} calls")


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("fault", ["kill", "full", "term"])
@pytest.mark.parametrize("trial", ["sft", "reward_model", "dpo", "ppo"], indirect=True)
def test_a_resumed_run_that_a_fault_met_anywhere_ends_as_if_it_had_not(trial: Trial, fault: str) -> None:
    """It was killed where one checkpoint was there and the log was ahead of it, and again on its way back."""
    if not (trial.folder / "killed").exists():
        at = trial.n_calls // 2
        while not list_checkpoints(trial.crash("start", "kill", at) / trial.stage.options.folder / "checkpoints"):
            at += 5
        trial.copy("trial", "killed")
    resumed = trial.copy("killed", "resumed")
    code, n_calls = trial.in_child(lambda: trial.stage.start(resumed), resumed)
    assert code == 0, trial.log(resumed)
    calls = choose_calls(n_calls)
    for at in calls:
        trial.finish(trial.crash("killed", fault, at), f"{trial.name} resumed, {fault} at call {at} of {n_calls}")
    print(f"{trial.name} resumed, {fault}: {len(calls)} of {n_calls} calls")
