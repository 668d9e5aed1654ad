"""LoRA on a reward model: switched off it is the model it began as; what is saved is ordinary, adapters beside."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForSequenceClassification

from textrl_env.lm.adapters import with_lora
from textrl_env.reference import AdapterOffReference
from textrl_env.reward_models import RewardModel, RewardModelConfig, preferences_of, train_reward_model
from textrl_env.reward_models.model import RewardEnsemble
from textrl_env.reward_models.training import RewardModelTraining

PROMPTS = ["p", "", "ab"]
COMPLETIONS = ["aab", "b", "a longer text"]
ROWS = preferences_of({"prompt": "p", "chosen": "a" * (1 + n % 5), "rejected": "b" * (1 + n % 3)} for n in range(8))
CONFIG = RewardModelConfig(n_epochs=2, batch_size=4, learning_rate=2e-2)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_adapters_and_head_are_trained_and_saved(
    make_reward_model: Any, kind: str, n_members: int, tmp_path: Path
) -> None:
    reward_model: RewardModel = make_reward_model(kind)
    base = copy.deepcopy(reward_model.model)
    before = reward_model.score(PROMPTS, COMPLETIONS)
    with_lora(reward_model.model, rank=4, alpha=8, seed=1)
    np.testing.assert_array_equal(reward_model.score(PROMPTS, COMPLETIONS), before)
    if n_members > 1:
        reward_model = RewardEnsemble.around(reward_model, n_members=n_members)
    trained = {name for name, value in reward_model.model.named_parameters() if value.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {"score.weight"} and len(trained) > 8
    start = {name: value.detach().clone() for name, value in reward_model.model.named_parameters()}

    def loss(scores: Any, batch: Any, thresholds: Any, config: Any) -> Any:
        return -torch.nn.functional.logsigmoid(scores[::2] - scores[1::2]).mean()

    RewardModelTraining(reward_model, ROWS, CONFIG, loss=loss).run()
    for name, value in reward_model.model.named_parameters():
        assert torch.equal(value, start[name]) == (name not in trained), name
    scores = reward_model.score(PROMPTS, COMPLETIONS)
    assert np.abs(scores - before).max() > 1e-2

    reward_model.save_pretrained(tmp_path / "saved")
    merged, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    adapted = PeftModel.from_pretrained(base, tmp_path / "saved" / "adapter").eval()
    for prompt, completion, score in zip(PROMPTS, COMPLETIONS, scores, strict=True):
        ids = torch.tensor([reward_model.encode(prompt, completion)])
        with torch.no_grad():
            assert float(merged.eval()(input_ids=ids).logits) == pytest.approx(score, abs=1e-4)
            assert float(adapted(input_ids=ids).logits) == pytest.approx(score, abs=1e-4)
    np.testing.assert_allclose(
        RewardModel.from_pretrained(tmp_path / "saved").score(PROMPTS, COMPLETIONS), scores, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_switched_off_it_is_the_model_with_the_trained_head(make_reward_model: Any, kind: str) -> None:
    reward_model: RewardModel = make_reward_model(kind)
    plain = RewardModel(copy.deepcopy(reward_model.model), reward_model.tokenizer)
    with_lora(reward_model.model, rank=4, seed=1)
    train_reward_model(reward_model, ROWS, CONFIG)
    with torch.no_grad():
        plain.head.weight.copy_(reward_model.head.weight)
    on = reward_model.score(PROMPTS, COMPLETIONS)
    layers = [module for module in reward_model.model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    np.testing.assert_array_equal(reward_model.score(PROMPTS, COMPLETIONS), plain.score(PROMPTS, COMPLETIONS))
    assert len(layers) > 4 and np.abs(on - plain.score(PROMPTS, COMPLETIONS)).max() > 1e-3


def test_adapters_come_back_bit_for_bit_and_leave_with_a_full_model(make_reward_model: Any, tmp_path: Path) -> None:
    def adapted() -> RewardModel:
        made: RewardModel = make_reward_model("llama")
        with_lora(made.model, rank=4, seed=1)
        return made

    trained, again = adapted(), adapted()
    train_reward_model(trained, ROWS, CONFIG)
    trained.save_pretrained(tmp_path / "saved")
    again.load_parameters(tmp_path / "saved")
    np.testing.assert_array_equal(again.score(PROMPTS, COMPLETIONS), trained.score(PROMPTS, COMPLETIONS))
    make_reward_model("llama").save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "adapter").exists()


def test_a_policy_takes_adapters_from_the_same_place(make_model: Any) -> None:
    policy = with_lora(make_model("gpt2"), rank=2)
    assert AdapterOffReference(policy, vocab_size=8).adapters
    assert not any(value.requires_grad for name, value in policy.named_parameters() if "lora_" not in name)
