"""Ensembles: members that share a trunk, what is saved, and where they disagree."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from textrl_env import InputError
from textrl_env.reward_models import RewardModel, RewardModelConfig, preferences_of
from textrl_env.reward_models.model import (
    IndependentEnsemble,
    RewardEnsemble,
    load_reward_model,
)
from textrl_env.reward_models.model.rewards import MEMBERS
from textrl_env.reward_models.training import (
    MemberLoss,
    RewardModelKind,
    bootstrap_counts,
    create_reward_model,
    create_training,
    settle_scores,
)
from textrl_env.reward_models.training.losses import batch_loss
from textrl_env.reward_models.training.targets import LabelBatch

PROMPTS = ["abc", "", "b", "abababab", "c"]
COMPLETIONS = ["d", "hello there", "", "x", "a much longer completion"]


@pytest.fixture(params=[("gpt2", False), ("gpt2", True), ("llama", False), ("llama", True)])
def ensemble(request: pytest.FixtureRequest, make_reward_model: Any) -> RewardEnsemble:
    """Four members with zeros of their own."""
    kind, pad_is_eos = request.param
    made = RewardEnsemble.around(make_reward_model(kind, pad_is_eos=pad_is_eos), n_members=4, seed=3)
    made.head.bias.data.copy_(torch.tensor([0.0, 1.0, -2.0, 0.5]))
    return made


def test_members_score_a_text_by_itself_and_the_score_is_their_mean(ensemble: RewardEnsemble) -> None:
    together = ensemble.member_scores(PROMPTS, COMPLETIONS)
    alone = [ensemble.member_scores([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(ensemble.member_scores(PROMPTS, COMPLETIONS, batch_size=2), together, atol=1e-5)
    np.testing.assert_allclose(ensemble.score(PROMPTS, COMPLETIONS), together.mean(axis=1), atol=1e-12)
    assert together.shape == (5, 4) and together.std(axis=1).min() > 0.01
    assert ensemble.member_scores([], []).shape == (0, 4) and ensemble.score([], []).shape == (0,)


def test_others_load_the_mean_and_we_load_the_members(ensemble: RewardEnsemble, tmp_path: Path) -> None:
    scores = ensemble.member_scores(PROMPTS, COMPLETIONS)
    ensemble.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(ensemble.member_scores(PROMPTS, COMPLETIONS), scores)
    classifier, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and classifier.config.num_labels == 1
    for prompt, completion, mean in zip(PROMPTS, COMPLETIONS, scores.mean(axis=1), strict=True):
        with torch.no_grad():
            logit = classifier(input_ids=torch.tensor([ensemble.encode(prompt, completion)])).logits[0, 0]
        assert float(logit) + classifier.config.score_offset == pytest.approx(mean, abs=1e-5)
    single = RewardModel.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(single.score(PROMPTS, COMPLETIONS), scores.mean(axis=1), atol=1e-5)
    again = load_reward_model(tmp_path / "saved")
    assert isinstance(again, RewardEnsemble)
    np.testing.assert_array_equal(again.member_scores(PROMPTS, COMPLETIONS), scores)


def test_a_single_model_saved_over_an_ensemble_leaves_no_members(make_reward_model: Any, tmp_path: Path) -> None:
    RewardEnsemble.around(make_reward_model("gpt2"), n_members=2).save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / MEMBERS).is_file()
    make_reward_model("gpt2").save_pretrained(tmp_path / "saved")
    assert type(load_reward_model(tmp_path / "saved")) is RewardModel


def test_parameters_come_back_bit_for_bit(ensemble: RewardEnsemble, make_reward_model: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        for value in ensemble.model.parameters():
            value.add_(0.01)
    ensemble.save_pretrained(tmp_path / "saved")
    kind = "gpt2" if ensemble.model.config.model_type == "gpt2" else "llama"
    other = RewardEnsemble.around(make_reward_model(kind), n_members=4, seed=8)
    other.load_parameters(tmp_path / "saved")
    mine, its = ensemble.model.state_dict(), other.model.state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_normalised_is_the_mean_and_every_member_is_centred(make_reward_model: Any, kind: str) -> None:
    ensemble = RewardEnsemble.around(make_reward_model(kind), n_members=3)
    before = ensemble.member_scores(PROMPTS, COMPLETIONS)
    ensemble.normalize(PROMPTS, COMPLETIONS)
    after = ensemble.member_scores(PROMPTS, COMPLETIONS)
    np.testing.assert_allclose(after.mean(axis=0), 0, atol=1e-5)
    assert after.mean(axis=1).std() == pytest.approx(1, abs=1e-5)
    assert ensemble.unit == pytest.approx(before.mean(axis=1).std(), rel=1e-4)
    # One unit for all members: what one of them spreads beside another stays as it was.
    was, now = before.std(axis=0), after.std(axis=0)
    np.testing.assert_allclose(now / now[0], was / was[0], rtol=1e-4)


def test_each_member_learns_from_its_own_resample_alone() -> None:
    scores = torch.randn(6, 2, requires_grad=True, generator=torch.Generator().manual_seed(0))
    batch = LabelBatch((5, 0, 2), (2, 2, 2), torch.ones(3), torch.zeros(3), torch.ones(3))
    counts = torch.zeros(6, 2)
    counts[5, 0], counts[0, 1], counts[2, 1] = 2.0, 1.0, 3.0
    config = RewardModelConfig(loss="pairs")
    loss = MemberLoss(counts)(scores, batch, torch.zeros(0), config)
    (gradient,) = torch.autograd.grad(loss, scores)
    drawn = (gradient != 0).reshape(3, 2, 2)[:, 0]
    assert drawn.tolist() == [[True, False], [False, True], [False, True]]
    repeated = torch.cat([scores[2:4, 1], *[scores[4:6, 1]] * 3]).detach()
    by_hand = batch_loss(
        repeated, LabelBatch((0,) * 4, (2,) * 4, torch.ones(4), torch.zeros(4), torch.ones(4)), torch.zeros(0), config
    )
    alone = MemberLoss(counts[:, 1:])(scores[:, 1:], batch, torch.zeros(0), config)
    assert float(alone.detach()) == pytest.approx(float(by_hand) * 4 / 3, rel=1e-5)


def test_a_resample_has_as_many_rows_and_leaves_out_a_third() -> None:
    counts = bootstrap_counts(1000, 5, seed=0)
    assert counts.sum(dim=0).tolist() == [1000.0] * 5
    # (1 - 1/n)^n is 1/e.
    np.testing.assert_allclose((counts == 0).float().mean(dim=0), np.exp(-1), atol=0.05)
    assert torch.equal(counts, bootstrap_counts(1000, 5, seed=0))
    assert not torch.equal(counts[:, 0], counts[:, 1]) and not torch.equal(counts, bootstrap_counts(1000, 5, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "train"), [("gpt2", "full"), ("llama", "full"), ("llama", "head")])
def test_members_disagree_where_no_preference_has_been(
    make_reward_model: Any, tmp_path: Path, kind: str, train: Any
) -> None:
    """The preferences are about a and b; about the letters from m to z they say nothing."""
    make_reward_model(kind)
    rng = np.random.default_rng(0)

    def texts(letters: str, n: int) -> list[str]:
        return ["".join(rng.choice(list(letters), size=6)) for _ in range(n)]

    rows = []
    while len(rows) < 150:
        pair = texts("ab", 2)
        if pair[0].count("a") != pair[1].count("a"):
            chosen, rejected = sorted(pair, key=lambda text: -text.count("a"))
            rows.append({"prompt": "p", "chosen": chosen, "rejected": rejected})
    preferences, options = preferences_of(rows), RewardModelKind(train=train, members=4)
    ensemble = create_reward_model(tmp_path / f"{kind}False", options, seed=0)
    assert isinstance(ensemble, RewardEnsemble)
    quick = {"n_epochs": 20, "learning_rate": 1e-2} if train == "head" else {"n_epochs": 3, "learning_rate": 3e-3}
    training = create_training(ensemble, options, preferences, RewardModelConfig(**quick), seed=0)  # type: ignore[arg-type]
    training.run()
    settle_scores(ensemble, options, training)
    known, unknown = texts("ab", 60), texts("mnopqrstuvwxyz", 60)
    inside, outside = (ensemble.member_scores(["p"] * 60, some) for some in (known, unknown))
    assert outside.std(axis=1).mean() > 1.5 * inside.std(axis=1).mean()
    count = [text.count("a") for text in known]
    assert all(np.corrcoef(member, count)[0, 1] > 0.6 for member in inside.T)
    completions = [text for row in preferences for text in row.ranking]
    np.testing.assert_allclose(ensemble.member_scores(["p"] * len(completions), completions).mean(axis=0), 0, atol=1e-4)


def test_independent_members_are_reward_models_of_their_own(make_reward_model: Any) -> None:
    models = [make_reward_model("llama", seed=seed) for seed in (0, 1, 2)]
    ensemble = IndependentEnsemble(models)
    scores = ensemble.member_scores(PROMPTS, COMPLETIONS)
    for member, model in zip(scores.T, models, strict=True):
        np.testing.assert_array_equal(member, model.score(PROMPTS, COMPLETIONS))
    np.testing.assert_allclose(ensemble.score(PROMPTS, COMPLETIONS), scores.mean(axis=1))
    ensemble.freeze()
    assert not any(value.requires_grad for model in models for value in model.model.parameters())


def test_what_is_no_ensemble_is_said(make_reward_model: Any, tmp_path: Path) -> None:
    single = make_reward_model("gpt2")
    with pytest.raises(InputError, match="members must be at least 2, got 1"):
        RewardEnsemble.around(single, n_members=1)
    with pytest.raises(InputError, match="models must be at least 2, got 1"):
        IndependentEnsemble([single])
    single.save_pretrained(tmp_path / "saved")
    with pytest.raises(InputError, match=r"saved: no ensemble here \(no members.safetensors\)"):
        RewardEnsemble.from_pretrained(tmp_path / "saved")
    RewardEnsemble.around(single, n_members=2).save_pretrained(tmp_path / "saved")
    tensors = load_file(tmp_path / "saved" / MEMBERS)
    save_file({"weight": tensors["weight"][:, :5].contiguous(), "bias": tensors["bias"]}, tmp_path / "saved" / MEMBERS)
    with pytest.raises(InputError, match=r"expected weight \(K, 32\) and bias \(K,\), found .*\(2, 5\)"):
        load_reward_model(tmp_path / "saved")
