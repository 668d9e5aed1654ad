"""The reward model: a score depends on its own text alone, survives saving, learns, and serves as a reward."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.reward_models import (
    ModelReward,
    RewardEnsemble,
    RewardModel,
    RewardModelConfig,
    preferences_of,
    train_reward_model,
)
from textrl_env.reward_models.measuring import accuracy, score_pairs
from textrl_env.worlds import LetterTokenizer

PROMPTS = ["abc", "", "b", "abababab", "c"]
COMPLETIONS = ["d", "hello there", "", "x", "a much longer completion"]


def letters(n: int, *, seed: int) -> list[dict[str, Any]]:
    """Of two texts, the one with more of the letter a is preferred."""
    rng = np.random.default_rng(seed)
    rows = []
    while len(rows) < n:
        pair = ["".join(rng.choice(list("ab"), size=6)) for _ in range(2)]
        if pair[0].count("a") != pair[1].count("a"):
            chosen, rejected = sorted(pair, key=lambda text: -text.count("a"))
            rows.append({"prompt": "p", "chosen": chosen, "rejected": rejected})
    return rows


@pytest.fixture(params=[("gpt2", False), ("gpt2", True), ("llama", False), ("llama", True)])
def reward_model(request: pytest.FixtureRequest, make_reward_model: Any) -> RewardModel:
    kind, pad_is_eos = request.param
    model: RewardModel = make_reward_model(kind, pad_is_eos=pad_is_eos)
    return model


def test_a_score_depends_on_its_own_text_alone(reward_model: RewardModel) -> None:
    together = reward_model.score(PROMPTS, COMPLETIONS)
    alone = [reward_model.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(reward_model.score(PROMPTS[::-1], COMPLETIONS[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(reward_model.score(PROMPTS, COMPLETIONS, batch_size=2), together, atol=1e-5)
    assert len(set(np.round(together, 6))) == len(PROMPTS)


def test_saved_it_is_the_classifier_that_transformers_loads(reward_model: RewardModel, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    reward_model.save_pretrained(folder)
    classifier = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert classifier.config.num_labels == 1
    assert classifier.config.pad_token_id == tokenizer.pad_token_id == reward_model.tokenizer.pad_token_id
    scores = reward_model.score(PROMPTS, COMPLETIONS)
    for prompt, completion, score in zip(PROMPTS, COMPLETIONS, scores, strict=True):
        ids = torch.tensor([reward_model.encode(prompt, completion)])
        with torch.no_grad():
            assert float(classifier(input_ids=ids).logits[0, 0]) == pytest.approx(score, abs=1e-5)
    again = RewardModel.from_pretrained(folder, seed=9)
    np.testing.assert_allclose(again.score(PROMPTS, COMPLETIONS), scores, atol=1e-6)


def test_the_pad_id_is_set_even_without_a_pad_token(make_reward_model: Any) -> None:
    made = make_reward_model("gpt2")
    made.tokenizer.pad_token = None
    made.model.config.pad_token_id = None
    again = RewardModel(made.model, made.tokenizer)
    assert again.model.config.pad_token_id == made.tokenizer.eos_token_id
    assert np.isfinite(again.score(PROMPTS, COMPLETIONS)).all()
    made.tokenizer.eos_token = None
    with pytest.raises(InputError, match="neither a pad nor an eos token"):
        RewardModel(made.model, made.tokenizer)


def test_head_and_labels_are_checked(make_reward_model: Any, tmp_path: Path) -> None:
    made = make_reward_model("gpt2", seed=0)
    assert torch.equal(made.model.score.weight, make_reward_model("gpt2", seed=0).model.score.weight)
    assert not torch.equal(made.model.score.weight, make_reward_model("gpt2", seed=1).model.score.weight)
    made.model.config.num_labels = 2
    with pytest.raises(InputError, match="has 2; use num_labels=1"):
        RewardModel(made.model, made.tokenizer)
    with pytest.raises(InputError, match="no model here"):
        RewardModel.from_pretrained(tmp_path / "nothing")
    with pytest.raises(InputError, match="context is 64"):
        make_reward_model("gpt2").score(["p"], ["a" * 100])


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_training_ranks_a_learnable_preference(make_reward_model: Any, kind: str) -> None:
    reward_model = make_reward_model(kind)
    heldout = preferences_of(letters(100, seed=1))
    before = accuracy(score_pairs(reward_model, heldout))
    config = RewardModelConfig(n_epochs=3, batch_size=16, learning_rate=3e-3)
    curve = train_reward_model(reward_model, preferences_of(letters(240, seed=0)), config)
    assert len(curve) == 45 and curve[-1].step == 45
    assert np.mean([point.loss for point in curve[-10:]]) < 0.4 < np.mean([point.loss for point in curve[:3]])
    assert accuracy(score_pairs(reward_model, heldout)) > max(0.9, before)
    assert not reward_model.model.training


def test_equal_seeds_give_equal_scores_and_no_global_generator_is_touched(make_reward_model: Any) -> None:
    def trained(seed: int) -> np.ndarray:
        reward_model = make_reward_model("gpt2")
        config = RewardModelConfig(n_epochs=1, batch_size=8)
        train_reward_model(reward_model, preferences_of(letters(40, seed=0)), config, seed=seed)
        scores: np.ndarray = reward_model.score(PROMPTS, COMPLETIONS)
        return scores

    state = torch.get_rng_state()
    first = trained(0)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(first, trained(0))
    assert not np.array_equal(first, trained(1))


# A warm-up of exactly one step makes OneCycleLR divide by zero.
@pytest.mark.parametrize("n", [1, 9, 10])
def test_any_number_of_steps_trains(make_reward_model: Any, n: int) -> None:
    config = RewardModelConfig(n_epochs=1, batch_size=1)
    assert len(train_reward_model(make_reward_model("gpt2"), preferences_of(letters(n, seed=0)), config)) == n


def test_a_loss_that_is_not_a_number_names_step_and_rows(make_reward_model: Any) -> None:
    reward_model = make_reward_model("gpt2")
    with torch.no_grad():
        reward_model.model.score.weight.fill_(float("inf"))
    config = RewardModelConfig(n_epochs=1, batch_size=2)
    with pytest.raises(InputError, match=r"loss is nan, .* at step 1, rows \[\d, \d\]; the parameters are those"):
        train_reward_model(reward_model, preferences_of(letters(8, seed=0)), config)


def test_it_serves_as_reward_beside_another_tokenizer(make_reward_model: Any) -> None:
    reward_model = make_reward_model("llama")
    env = TextGenVectorEnv(
        ["abc", "d"],
        ModelReward(reward_model),
        LetterTokenizer(8),
        num_envs=3,
        max_new_tokens=4,
        include_text=True,
        autoreset_mode="Disabled",
    )
    env.reset(seed=0)
    for _ in range(4):
        _, rewards, _, _, info = env.step(np.array([1, 2, 3]))
    assert list(info["completion"]) == ["aaaa", "bbbb", "cccc"]
    expected = reward_model.score(list(info["prompt"]), list(info["completion"]))
    np.testing.assert_allclose(rewards, expected, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in reward_model.model.parameters())


def test_short_and_long_texts_in_one_batch_are_scored_apart_and_given_back_in_order(
    reward_model: RewardModel,
) -> None:
    texts = ["ab" * (1 + 7 * (index % 3)) + "b" * index for index in range(20)]
    sequences = [reward_model.encode("", text) for text in texts]
    alone = torch.cat([reward_model.forward([sequence]) for sequence in sequences])
    together = reward_model.forward(sequences)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert together.requires_grad


def test_fewer_layers_are_the_first_ones(make_reward_model: Any, tmp_path: Path) -> None:
    whole = make_reward_model("llama")
    folder = tmp_path / "llamaFalse"
    short = RewardModel.from_pretrained(folder, layers=1, seed=0)
    assert len(short.model.base_model.layers) == 1
    theirs, ours = whole.model.base_model.layers[0], short.model.base_model.layers[0]
    assert torch.equal(theirs.mlp.up_proj.weight, ours.mlp.up_proj.weight)
    short.save_pretrained(tmp_path / "short")
    again = RewardModel.from_pretrained(tmp_path / "short")
    np.testing.assert_allclose(again.score(PROMPTS, COMPLETIONS), short.score(PROMPTS, COMPLETIONS), atol=1e-6)


def test_whole_texts_are_judged_without_the_seam(reward_model: RewardModel) -> None:
    prompts, completions = ["ab", "b"], [" ba", "aa"]
    judged = ModelReward(reward_model, whole_text=True)(prompts, completions)
    np.testing.assert_allclose(judged, reward_model.score(["", ""], ["ab ba", "baa"]), atol=1e-6)


@pytest.mark.parametrize(
    ("prompts", "completions", "message"),
    [
        ("a", "b", "must be lists with an entry a text"),
        (["a"], "b", "must be lists with an entry a text"),
        (["a"], ["b", "c"], "expected a completion a prompt, got 1 prompts and 2 completions"),
        (["a", "b"], ["c", None], "completion 1 must be text, got null"),
        (["a", 3], ["c", "d"], "prompt 1 must be text, got int"),
        (["a"], [[{"role": "assistant", "content": "c"}]], "completion 0 must be text, got"),
    ],
)
def test_what_cannot_be_scored_is_named(make_reward_model: Any, prompts: Any, completions: Any, message: str) -> None:
    model = make_reward_model("gpt2")
    ensemble = RewardEnsemble.around(make_reward_model("gpt2"), n_members=2)
    for score in (model.score, model.normalize, ensemble.score, ensemble.member_scores):
        with pytest.raises(InputError, match=message):
            score(prompts, completions)
    assert model.score(iter(PROMPTS), iter(COMPLETIONS)).tolist() == model.score(PROMPTS, COMPLETIONS).tolist()


@pytest.mark.parametrize("value", ["judges/first", None, len, RewardModel, torch.nn.Linear(1, 1)])
def test_what_is_no_reward_model_is_named_with_a_way_to_make_one(value: Any) -> None:
    with pytest.raises(InputError, match=r"expected a reward model or an ensemble, got .*load_reward_model"):
        ModelReward(value)
