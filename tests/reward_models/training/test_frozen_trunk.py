"""The head alone: what is cached is what the model would compute, and training on it is what a frozen trunk gives."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from textrl_env import InputError
from textrl_env.reward_models import RewardModel, RewardModelConfig, preferences_of, train_reward_model
from textrl_env.reward_models.model import RewardEnsemble
from textrl_env.reward_models.model.reward_model import forward_by_length
from textrl_env.reward_models.training import FrozenTrunk, RewardModelTraining

TEXTS = ["aab", "b", "a much longer text", "", "abab", "b"]
ROWS = preferences_of(
    {"prompt": "p", "chosen": "a" * (1 + n % 5) + "b" * n, "rejected": "b" * (1 + n % 3)} for n in range(12)
)
CONFIG = RewardModelConfig(n_epochs=3, batch_size=4, learning_rate=1e-2)


@pytest.mark.parametrize("pad_is_eos", [False, True])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_features_are_what_the_head_reads_of_a_text_alone(make_reward_model: Any, kind: str, pad_is_eos: bool) -> None:
    reward_model = make_reward_model(kind, pad_is_eos=pad_is_eos)
    sequences = [reward_model.encode("p", text) for text in TEXTS]
    features = forward_by_length(reward_model.features, sequences, batch_size=2)
    for ids, own in zip(sequences, features, strict=True):
        with torch.no_grad():
            theirs = reward_model.model(input_ids=torch.tensor([ids])).logits[0]
        torch.testing.assert_close(reward_model.head(own).detach(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_is_the_training_of_a_model_whose_trunk_stays(make_reward_model: Any, kind: str, n_members: int) -> None:
    def made() -> RewardModel:
        single: RewardModel = make_reward_model(kind)
        return single if n_members == 1 else RewardEnsemble.around(single, n_members=n_members, seed=1)

    def loss(scores: Any, batch: Any, thresholds: Any, config: Any) -> Any:
        return -torch.nn.functional.logsigmoid(scores[::2] - scores[1::2]).mean()

    whole, head_only = made(), made()
    start = {name: value.clone() for name, value in head_only.model.state_dict().items()}
    whole.model.base_model.requires_grad_(False)
    slow = RewardModelTraining(whole, ROWS, CONFIG, loss=loss).run()
    fast = RewardModelTraining(FrozenTrunk(head_only), ROWS, CONFIG, loss=loss).run()
    np.testing.assert_allclose([point.loss for point in fast], [point.loss for point in slow], atol=1e-5)
    torch.testing.assert_close(head_only.head.weight, whole.head.weight, atol=1e-5, rtol=0)
    prompts = ["p"] * len(TEXTS)
    np.testing.assert_allclose(head_only.score(prompts, TEXTS), whole.score(prompts, TEXTS), atol=1e-5)
    changed = {name for name, value in head_only.model.state_dict().items() if not torch.equal(value, start[name])}
    assert changed == {"score.weight"}


def test_every_text_goes_through_the_trunk_once_and_without_dropout(make_reward_model: Any, monkeypatch: Any) -> None:
    reward_model = make_reward_model("gpt2")
    for module in reward_model.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    seen: list[tuple[int, ...]] = []
    features = reward_model.features

    def counted(sequences: Any) -> Any:
        seen.extend(map(tuple, sequences))
        return features(sequences)

    monkeypatch.setattr(reward_model, "features", counted)
    expected = reward_model.score(["p"] * 2, ["a", "b"])
    seen.clear()
    frozen = FrozenTrunk(reward_model)
    train_reward_model(frozen, ROWS, CONFIG)
    distinct = {tuple(reward_model.encode("p", text)) for row in ROWS for text in row.ranking}
    assert len(seen) == len(distinct) and set(seen) == distinct
    assert not reward_model.model.training and not np.array_equal(reward_model.score(["p"] * 2, ["a", "b"]), expected)


def test_what_is_saved_is_an_ordinary_classifier(make_reward_model: Any, tmp_path: Any) -> None:
    reward_model = make_reward_model("llama")
    frozen = FrozenTrunk(reward_model)
    train_reward_model(frozen, ROWS, CONFIG)
    frozen.save_pretrained(tmp_path / "saved")
    classifier, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        logits = classifier(input_ids=torch.tensor([reward_model.encode("p", "ab")])).logits
    assert float(logits) == pytest.approx(reward_model.score(["p"], ["ab"])[0], abs=1e-5)


def test_parameters_that_are_loaded_make_new_features(make_reward_model: Any, tmp_path: Any) -> None:
    frozen, other = FrozenTrunk(make_reward_model("gpt2")), make_reward_model("gpt2")
    ids = [frozen.encode("p", "abc")]
    before = float(frozen.forward(ids).detach())
    with torch.no_grad():
        other.model.transformer.h[0].mlp.c_fc.weight.mul_(1.5)
    other.save_pretrained(tmp_path / "other")
    frozen.load_parameters(tmp_path / "other")
    assert float(frozen.forward(ids).detach()) == pytest.approx(other.score(["p"], ["abc"])[0], abs=1e-5)
    assert abs(float(frozen.forward(ids).detach()) - before) > 1e-3


def test_a_head_that_is_not_linear_is_refused(make_reward_model: Any) -> None:
    reward_model = make_reward_model("gpt2")
    reward_model.model.score = torch.nn.Identity()
    with pytest.raises(InputError, match="GPT2ForSequenceClassification has no linear head"):
        FrozenTrunk(reward_model)
