"""The quality benchmark: other libraries get the same world, and are measured at the same completions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learning_curves import WORLD, gap, reference_model
from quality import SETTING
from small_world import bars
from small_world.files import ScoreTable, letter_tokenizer, read_setting, write_files
from small_world.ours import falling_rate
from small_world.sb3 import sb3
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    write_files(path, SETTING, reference_model(), WORLD.prompts, WORLD.reward)
    return path


def test_the_files_hold_the_worlds_reward(folder: Path) -> None:
    setting = read_setting(folder)
    assert setting == SETTING
    table, tokenizer, rng = ScoreTable(folder, setting), letter_tokenizer(setting), np.random.default_rng(0)
    assert sorted(table.prompts) == sorted(WORLD.prompts)
    for length in range(WORLD.horizon + 1):
        prompt = str(rng.choice(WORLD.prompts))
        text = "".join(rng.choice(list(setting.letters), size=length))
        ids = tokenizer(prompt + text)["input_ids"]
        assert ids == WORLD.tokenizer.encode(prompt + text)
        ids += [0, *[setting.pad] * WORLD.horizon][: WORLD.horizon - length]
        batch = torch.tensor([ids])
        # As a trainer asks a reward model: what pads is masked, and the head is read at any of the positions.
        hidden = table.trunk(batch, batch != setting.pad).hidden_states[-1]
        (score,) = WORLD.reward([prompt], [text])
        torch.testing.assert_close(table.score(hidden)[0, :, 0], torch.full((len(ids),), score))


def test_policy_and_critic_are_the_references(folder: Path) -> None:
    policy = AutoModelForCausalLM.from_pretrained(folder / "reference")
    assert gap().measure(policy).fraction == pytest.approx(0, abs=1e-6)
    critic = AutoModelForSequenceClassification.from_pretrained(folder / "critic")
    torch.testing.assert_close(dict(critic.model.named_parameters()), dict(policy.model.named_parameters()))
    assert critic.score.weight.shape[0] == 1 and not critic.score.weight.any()


def test_the_rate_falls_linearly_over_the_whole_run() -> None:
    first, second = falling_rate(SETTING, 0, 4096), falling_rate(SETTING, 4096, 16384)
    rates = [first(1.0), first(0.0), second(1.0), second(0.0)]
    assert rates == pytest.approx([1e-3, 0.75e-3, 0.75e-3, 0.0])


def test_sb3_is_measured_after_as_many_completions() -> None:
    marks = (256, 512)
    fractions, seconds = sb3(replace(SETTING, marks=marks, horizon=WORLD.horizon), seed=0)
    assert len(fractions) == len(seconds) == 2 and 0 < seconds[0] < seconds[1]
    assert 0.02 < fractions[1] <= 1


def runs(variant: str, *fractions: list[float], seconds: list[float]) -> list[dict[str, object]]:
    return [
        {"variant": variant, "seed": seed, "fractions": each, "cpu_seconds": seconds}
        for seed, each in enumerate(fractions)
    ]


def found(measured: list[dict[str, object]]) -> dict[str, bool]:
    return {each.promise: each.holds for each in bars.judge(measured, (100, 200, 400, 800))}


def test_promises_are_judged_by_means_and_by_the_lowest_seed() -> None:
    mine = runs("ours", [0.7, 0.8, 0.9, 0.99], [0.9, 0.9, 0.9, 0.93], seconds=[1, 2, 4, 8])
    slow = runs("trl", [0.75, 0.85, 0.91, 0.91], [0.75, 0.85, 0.91, 0.91], seconds=[5, 9, 40, 41])
    judged = found(mine + slow)
    assert judged["ours, 100: at or above the better peer"] and judged["ours, 200: at or above the better peer"]
    assert not judged["ours, 400: at or above the better peer"]
    assert judged["ours, 800: at least 0.95, no seed below 0.85"]
    # 0.75, 0.85, 0.91 are passed at 1, 2 and 8 seconds: 5, 4.5 and 5 times as fast.
    assert not judged["ours: what trl has at a mark, in 5 times fewer CPU seconds"]
    for run in slow:
        run["cpu_seconds"] = [5, 10, 40, 41]
    assert found(mine + slow)["ours: what trl has at a mark, in 5 times fewer CPU seconds"]
    assert not found(mine + runs("trl", [0.97] * 4, seconds=[1e6] * 4))[
        "ours: what trl has at a mark, in 5 times fewer CPU seconds"
    ]
    assert (
        judged["no run above 1"] and not found(runs("ours", [0.9, 0.9, 0.9, 1.01], seconds=[1] * 4))["no run above 1"]
    )
    low = runs("ours", [0.9, 0.9, 0.9, 0.84], [1.0] * 4, [1.0] * 4, [1.0] * 4, seconds=[1] * 4)
    assert not found(low)["ours, 800: at least 0.95, no seed below 0.85"]
    # What was not measured is not judged.
    assert set(found(mine)) == {"ours, 800: at least 0.95, no seed below 0.85", "no run above 1"}
