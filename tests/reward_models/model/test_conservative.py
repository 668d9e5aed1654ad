"""Conservative scores, and what they are for: best of n against a proxy that is wrong where it has not been."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.reward_models.model import (
    ConservativeReward,
    IndependentEnsemble,
    RewardEnsemble,
    conservative_scores,
    load_reward,
)
from textrl_env.worlds import LetterTokenizer


@given(
    scores=arrays(float, (4, 3), elements=st.floats(-100, 100, width=32)),
    k=st.floats(0, 5),
    shift=st.floats(-9, 9),
    scale=st.floats(0.1, 9),
)
def test_never_above_the_mean_and_in_the_scores_own_unit(scores: Any, k: float, shift: float, scale: float) -> None:
    for pessimism in (k, "minimum"):
        low = conservative_scores(scores, pessimism)  # type: ignore[arg-type]
        assert (low <= scores.mean(axis=1) + 1e-9).all()
        turned = conservative_scores(scale * scores[:, ::-1] + shift, pessimism)  # type: ignore[arg-type]
        np.testing.assert_allclose(turned, scale * low + shift, atol=1e-6 * max(1, np.abs(scores).max() * scale))
    np.testing.assert_allclose(conservative_scores(scores, 0.0), scores.mean(axis=1))
    assert (conservative_scores(scores, k + 1) <= conservative_scores(scores, k) + 1e-9).all()


def test_by_hand() -> None:
    scores = np.array([[1.0, 3.0], [2.0, 2.0]])
    assert conservative_scores(scores, 1.0).tolist() == [1.0, 2.0]
    assert conservative_scores(scores, 2.0).tolist() == [0.0, 2.0]
    assert conservative_scores(scores, "minimum").tolist() == [1.0, 2.0]


def test_less_is_lost_to_over_optimisation_than_with_the_mean() -> None:
    """Best of 400 against linear members, fitted on resamples of noisy labels that hardly show half of the directions.

    There the fit is chance, and what the members' mean likes best lies far out in them (over-optimisation, Gao et al.
    2023); what the conservative score likes best has more gold.
    """
    rng = np.random.default_rng(0)
    n_labels, n_features, n_members = 40, 12, 10
    reached = np.r_[np.ones(6), np.full(6, 0.1)]
    won = []
    for _ in range(300):
        gold = rng.normal(size=n_features) * np.r_[np.ones(6), np.zeros(6)]
        features = rng.normal(size=(n_labels, n_features)) * reached
        labels = features @ gold + rng.normal(size=n_labels)
        draws = rng.integers(n_labels, size=(n_members, n_labels))
        members = np.stack([np.linalg.lstsq(features[draw], labels[draw], rcond=None)[0] for draw in draws])
        candidates = rng.normal(size=(400, n_features))
        scores = candidates @ members.T
        found = {k: candidates[conservative_scores(scores, k).argmax()] @ gold for k in (0.0, 1.0, "minimum")}
        won.append([found[1.0] - found[0.0], found["minimum"] - found[0.0]])
    mean, error = np.mean(won, axis=0), np.std(won, axis=0) / np.sqrt(len(won))
    assert (mean > 3 * error).all(), (mean, error)


@pytest.mark.parametrize("pessimism", [2.0, "minimum"])
def test_it_is_a_reward_of_the_environment(make_reward_model: Any, pessimism: Any) -> None:
    ensemble = RewardEnsemble.around(make_reward_model("llama"), n_members=3)
    env = TextGenVectorEnv(
        ["abc", "d"],
        ConservativeReward(ensemble, pessimism=pessimism),
        LetterTokenizer(8),
        num_envs=3,
        max_new_tokens=4,
        include_text=True,
        autoreset_mode="Disabled",
    )
    env.reset(seed=0)
    for _ in range(4):
        _, rewards, _, _, info = env.step(np.array([1, 2, 3]))
    members = ensemble.member_scores(list(info["prompt"]), list(info["completion"]))
    expected = members.min(axis=1) if pessimism == "minimum" else members.mean(axis=1) - 2 * members.std(axis=1)
    np.testing.assert_allclose(rewards, expected, atol=1e-5)
    assert not any(value.requires_grad for value in ensemble.model.parameters())


def test_whole_texts_and_members_of_their_own(make_reward_model: Any) -> None:
    ensemble = IndependentEnsemble([make_reward_model("gpt2", seed=seed) for seed in (0, 1)])
    found = ConservativeReward(ensemble, pessimism="minimum", whole_text=True)(["ab"], [" ba"])
    assert found == pytest.approx([ensemble.member_scores([""], ["ab ba"]).min()])


def test_what_cannot_be_is_refused(make_reward_model: Any, tmp_path: Path) -> None:
    single = make_reward_model("gpt2")
    single.save_pretrained(tmp_path / "single")
    with pytest.raises(InputError, match="single is a single reward model, and cannot disagree with itself"):
        load_reward(tmp_path / "single", pessimism=1.0)
    assert load_reward(tmp_path / "single")(["a"], ["b"]) == pytest.approx(single.score(["a"], ["b"]))
    ensemble = RewardEnsemble.around(single, n_members=2)
    with pytest.raises(InputError, match="pessimism must be at least 0, got -1"):
        ConservativeReward(ensemble, pessimism=-1)
    with pytest.raises(InputError, match="pessimism must be a number or 'minimum', got 'max'"):
        ConservativeReward(ensemble, pessimism="max")  # type: ignore[arg-type]
    ensemble.save_pretrained(tmp_path / "ensemble")
    assert isinstance(load_reward(tmp_path / "ensemble", pessimism="minimum"), ConservativeReward)
