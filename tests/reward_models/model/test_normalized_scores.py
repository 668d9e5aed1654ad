"""Normalised scores: mean 0 and deviation 1 on the reference completions, for others who load the folder too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from textrl_env import InputError
from textrl_env.reward_models import RewardModel
from textrl_env.reward_models.training import RewardModelKind, create_reward_model

PROMPTS = ["abc", "", "b", "abababab", "c", "ba"]
COMPLETIONS = ["d", "hello there", "", "x", "a much longer completion", "b"]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_plain_transformers_reads_the_same_scores(make_reward_model: Any, kind: str, tmp_path: Path) -> None:
    reward_model = make_reward_model(kind)
    before = reward_model.score(PROMPTS, COMPLETIONS)
    reward_model.normalize(PROMPTS, COMPLETIONS)
    reward_model.save_pretrained(tmp_path / "saved")
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    texts = [
        torch.tensor([reward_model.encode(prompt, text)]) for prompt, text in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    with torch.no_grad():
        logits = np.array([float(classifier(input_ids=ids).logits) for ids in texts])
    assert logits.std() == pytest.approx(1, abs=1e-4)
    scores = logits + classifier.config.score_offset
    assert scores.mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(
        RewardModel.from_pretrained(tmp_path / "saved").score(PROMPTS, COMPLETIONS), scores, atol=1e-5
    )
    assert abs(before.mean()) > 0.01 and np.corrcoef(before, scores)[0, 1] == pytest.approx(1)


def test_other_completions_stay_where_they_were_beside_these(make_reward_model: Any) -> None:
    reward_model = make_reward_model("llama")
    before = reward_model.score(PROMPTS, COMPLETIONS)
    reward_model.normalize(PROMPTS[:3], COMPLETIONS[:3])
    after = reward_model.score(PROMPTS, COMPLETIONS)
    np.testing.assert_allclose(after, (before - before[:3].mean()) / before[:3].std(), atol=1e-4)
    alone = [reward_model.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(after, alone, atol=1e-4)
    reward_model.normalize(PROMPTS[:3], COMPLETIONS[:3])
    np.testing.assert_allclose(reward_model.score(PROMPTS, COMPLETIONS), after, atol=1e-4)
    assert reward_model.unit == pytest.approx(before[:3].std(), rel=1e-4)
    assert reward_model.unit * (after[0] - after[1]) == pytest.approx(before[0] - before[1], abs=1e-4)


def test_scores_that_do_not_differ_have_no_unit(make_reward_model: Any) -> None:
    reward_model = make_reward_model("gpt2")
    for n in (0, 1, 3):
        with pytest.raises(InputError, match=f"that differ in score are needed; got {n} alike"):
            reward_model.normalize(["p"] * n, ["a"] * n)


def test_a_training_that_starts_from_normalised_scores_starts_anew(make_reward_model: Any, tmp_path: Path) -> None:
    reward_model = make_reward_model("gpt2")
    reward_model.normalize(PROMPTS, COMPLETIONS)
    reward_model.save_pretrained(tmp_path / "saved")
    again = RewardModel.from_pretrained(tmp_path / "saved")
    assert (again.unit, again.offset) == (reward_model.unit, reward_model.offset) and again.unit != 1
    new = create_reward_model(tmp_path / "saved", RewardModelKind(), seed=0)
    assert (new.unit, new.offset) == (1, 0)
