"""The whole line, tiny: every file is there, loads elsewhere, and follows from the seed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from textrl_env.worlds import support_desk

FILES = [
    "sft/model.safetensors",
    "sft/tokenizer.json",
    "sft/metrics.json",
    "sft/progress.jsonl",
    "preferences/train.jsonl",
    "preferences/heldout.jsonl",
    "preferences/metrics.json",
    "reward_model/model.safetensors",
    "reward_model/metrics.json",
    "reward_model/tokenizer.json",
    "ppo/progress.csv",
    "ppo/progress.jsonl",
    "ppo/checkpoints/update-000002/manifest.json",
    "ppo/checkpoints/update-000002/policy/model.safetensors",
    "policy/model.safetensors",
    "policy/tokenizer.json",
    "evaluation/metrics.json",
    "evaluation/completions.jsonl",
    "summary.json",
    "manifest.json",
    "report.html",
    "learning_curve.png",
]
FROM_THE_SEED = [
    "sft/model.safetensors",
    "reward_model/model.safetensors",
    "policy/model.safetensors",
    "preferences/train.jsonl",
    "preferences/heldout.jsonl",
    "evaluation/completions.jsonl",
]


def summary(run: Path) -> dict[str, float]:
    values: dict[str, float] = json.loads((run / "summary.json").read_text())
    return {name: value for name, value in values.items() if not name.startswith("seconds")}


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_written(run_dir: Path, name: str) -> None:
    assert (run_dir / name).stat().st_size > 0


def test_the_seed_decides_everything_but_the_time(run_dir: Path, quickstart: Callable[[int], Path]) -> None:
    again, other = quickstart(0), quickstart(1)
    for name in FROM_THE_SEED:
        content = (run_dir / name).read_bytes()
        assert (again / name).read_bytes() == content, name
        assert (other / name).read_bytes() != content, name
    assert summary(again) == summary(run_dir) != summary(other)


def test_the_policy_generates_with_transformers_alone(run_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(run_dir / "policy")
    start = AutoModelForCausalLM.from_pretrained(run_dir / "sft")
    assert any(not torch.equal(new, old) for new, old in zip(model.parameters(), start.parameters(), strict=True))
    generate = pipeline("text-generation", model=str(run_dir / "policy"), device="cpu")
    prompt = support_desk.prompts(1, seed=0)[0]["prompt"]
    (answer,) = generate(prompt, max_new_tokens=5, do_sample=False)
    assert answer["generated_text"].startswith(prompt) and len(answer["generated_text"]) > len(prompt)


def test_the_reward_model_loads_with_transformers_alone(run_dir: Path) -> None:
    classifier = AutoModelForSequenceClassification.from_pretrained(run_dir / "reward_model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "reward_model")
    assert classifier.config.num_labels == 1 and classifier.config.pad_token_id == tokenizer.pad_token_id
    row = lines(run_dir / "evaluation" / "completions.jsonl")[0]
    ids = tokenizer.encode(row["prompt"]) + tokenizer.encode(row["ppo"], add_special_tokens=False) + [2]
    with torch.no_grad():
        score = float(classifier(input_ids=torch.tensor([ids])).logits[0, 0])
    assert score == pytest.approx(row["proxy_ppo"], abs=1e-5)


def test_every_update_is_logged_in_three_places(run_dir: Path) -> None:
    tags = ["objective/gold", "objective/scores", "objective/kl"]
    logged = lines(run_dir / "ppo" / "progress.jsonl")
    with open(run_dir / "ppo" / "progress.csv", newline="") as file:
        table = list(csv.DictReader(file))
    events = EventAccumulator(str(run_dir / "ppo"))
    events.Reload()
    for tag in tags:
        # The last row holds what was measured after the last update, and nothing of a rollout.
        values = [float(row[tag]) for row in logged[:-1]]  # type: ignore[arg-type]
        assert len(values) == 2 and np.isfinite(values).all()
        assert tag not in logged[-1]
        np.testing.assert_allclose([float(row[tag]) for row in table[:-1]], values, rtol=1e-5)
        np.testing.assert_allclose([event.value for event in events.Scalars(tag)], values, rtol=1e-5, atol=1e-7)
    # The first completions are the reference's own.
    assert abs(float(logged[0]["objective/kl"])) < 1e-3  # type: ignore[arg-type]


def test_preferences_and_summary_hold_what_they_say(run_dir: Path) -> None:
    rows = lines(run_dir / "preferences" / "train.jsonl")
    assert len(rows) == 12 and all(len(row["ranking"]) == 4 for row in rows)  # type: ignore[arg-type]
    assert len(lines(run_dir / "preferences" / "heldout.jsonl")) == 6
    found = lines(run_dir / "evaluation" / "completions.jsonl")
    assert len(found) == 12
    gold = support_desk.gold_reward([str(row["prompt"]) for row in found], [str(row["ppo"]) for row in found])
    assert summary(run_dir)["gold_ppo"] == pytest.approx(np.mean(gold))
    assert all(np.isfinite(value) for value in summary(run_dir).values())
