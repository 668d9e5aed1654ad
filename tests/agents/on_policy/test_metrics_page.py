"""docs/metrics.md has every tag that is logged, and no other."""

import json
import re
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from textrl_env.agents import SFTConfig, train_sft
from textrl_env.agents.callbacks import EvaluateOnPrompts, HackingAlarm, LogSamples, TrackReward
from textrl_env.agents.callbacks.verdicts import FAULTS

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def in_page(*, sft: bool) -> set[str]:
    """The tags in the first columns of the tables, those of supervised fine-tuning or all others."""
    found = set()
    for section in PAGE.split("\n## "):
        if section.startswith("Supervised fine-tuning") is sft:
            for first in re.findall(r"^\| (`[^|]*) \|", section, flags=re.M):
                found |= set(re.findall(r"`([^`]+)`", first))
    return found


def logged(folder: Path) -> set[str]:
    tags = {tag for line in (folder / "progress.jsonl").read_text().splitlines() for tag in json.loads(line)}
    tensors = EventAccumulator(str(folder)).Reload().Tags()["tensors"]
    return tags | {tag.removesuffix("/text_summary") for tag in tensors}


def test_every_tag_of_a_run_is_explained_and_every_explained_tag_is_logged(make_ppo: Any, tmp_path: Path) -> None:
    def judge(prompts: list[str], completions: list[str]) -> list[float]:
        return [float(len(text)) for text in completions]

    ppo = make_ppo(log_dir=tmp_path, ent_coef=0.01, n_epochs=1)
    evaluation = EvaluateOnPrompts(["a"], {"gold": judge}, every_updates=1)
    ppo.learn(total_updates=9, callback=[TrackReward("gold", judge), evaluation, LogSamples(1), HackingAlarm(window=8)])
    assert logged(tmp_path) == in_page(sft=False)


def test_every_tag_of_supervised_fine_tuning_is_explained(make_model: Any, tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "bc"}] * 4
    train_sft(make_model("gpt2"), tokenizer, rows, SFTConfig(n_steps=2), heldout=rows, log_dir=tmp_path)
    assert logged(tmp_path) == in_page(sft=True)


def test_every_verdict_is_in_the_page() -> None:
    for _, message in FAULTS:
        assert f"| {message.split(':')[0]} |" in PAGE
