"""Stable-Baselines3's own PPO and A2C train a causal LM: what the policy computes, and what is saved."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.vec_env import VecMonitor

from textrl_env import InputError, KLShaping
from textrl_env.agents import ActorCriticLM
from textrl_env.agents.policy import CausalLMPolicy
from textrl_env.sb3 import as_sb3_vec_env

V = 8
Observation = dict[str, np.ndarray]


@pytest.fixture
def make_sb3(make_env: Any) -> Callable[..., Any]:
    """An algorithm of SB3 on prompts of 1 to 5 tokens, with KL shaping towards the model that it starts from."""

    def make(model: Any, *, algorithm: Any = PPO, critic: str = "separate", start: Any = None, **options: Any) -> Any:
        env = make_env(model, autoreset_mode="SameStep", kl=KLShaping(0.1), **options.pop("env", {}))
        kwargs = {"model": start or model, "critic": critic}
        defaults = {"n_steps": 16, "learning_rate": 1e-3, "gamma": 1.0, "ent_coef": 0.1, "seed": 0, "device": "cpu"}
        if algorithm is PPO:
            defaults |= {"batch_size": 64, "n_epochs": 1, "normalize_advantage": False}
        return algorithm(CausalLMPolicy, VecMonitor(as_sb3_vec_env(env)), policy_kwargs=kwargs, **defaults | options)

    return make


def padded(rows: list[list[int]], width: int, junk: int = 0) -> Observation:
    ids, mask = np.full((len(rows), width), junk), np.zeros((len(rows), width), dtype=np.int8)
    for row, tokens in enumerate(rows):
        ids[row, width - len(tokens) :], mask[row, width - len(tokens) :] = tokens, 1
    return {"input_ids": ids, "attention_mask": mask}


ROWS = [[1, 2, 3, 4, 5, 3, 1], [6], [7, 1, 2], [3, 4]]


def outputs(policy: Any, observation: Observation) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of all tokens (B, V) and values (B,)."""
    tensors, _ = policy.obs_to_tensor(observation)
    with torch.no_grad():
        logprobs = policy.get_distribution(tensors).distribution.logits
        values = policy.predict_values(tensors)
    return logprobs.numpy(), values[:, 0].numpy()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_logprobs_and_values_are_those_of_each_text_alone(
    kind: str, critic: str, make_model: Any, make_sb3: Any, exact_logprobs: Any
) -> None:
    """Also with a model that knows more tokens than the tokenizer, whose logits are no part of the distribution."""
    model = make_model(kind, vocab_size=V + 5)
    policy = make_sb3(model, critic=critic).policy
    torch.nn.init.normal_(policy.lm.value_head.weight, generator=torch.Generator().manual_seed(0))
    logprobs, values = outputs(policy, padded(ROWS, 11))
    reference = exact_logprobs(model, vocab_size=V)
    head = policy.lm.value_head.weight.detach().numpy()[0]
    for row, ids in enumerate(ROWS):
        np.testing.assert_allclose(logprobs[row], reference(ids)[-1], atol=1e-5)
        with torch.no_grad():
            hidden = model.base_model(torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1].numpy()
        assert values[row] == pytest.approx(hidden @ head, abs=1e-4)
    assert np.ptp(values) > 0.1
    tensors, _ = policy.obs_to_tensor(padded(ROWS, 11))
    tokens, at_rollout, chosen = policy(tensors)
    at_update, again, entropies = policy.evaluate_actions(tensors, tokens)
    np.testing.assert_allclose(at_rollout[:, 0].detach(), values, atol=1e-6)
    np.testing.assert_allclose(at_update.detach(), at_rollout.detach(), atol=1e-6)
    np.testing.assert_allclose(again.detach(), logprobs[np.arange(4), tokens], atol=1e-6)
    np.testing.assert_allclose(chosen.detach(), again.detach(), atol=1e-6)
    np.testing.assert_allclose(entropies.detach(), -(np.exp(logprobs) * logprobs).sum(axis=1), atol=1e-5)


def test_padding_changes_nothing(model: Any, make_sb3: Any) -> None:
    """Neither tokens under the mask nor its columns, which a text of the full length keeps from being cut off."""
    policy = make_sb3(model).policy
    torch.nn.init.normal_(policy.lm.value_head.weight)
    expected = outputs(policy, padded(ROWS, 11))
    for rows, junk in ((ROWS, 5), ([*ROWS, [1] * 11], 0), ([*ROWS, [1] * 11], 5)):
        for mine, theirs in zip(outputs(policy, padded(rows, 11, junk)), expected, strict=True):
            np.testing.assert_allclose(mine[: len(ROWS)], theirs, atol=1e-5)


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_the_first_update_has_ratio_one_and_reaches_every_weight(critic: str, make_model: Any, make_sb3: Any) -> None:
    """In spite of dropout in the model's configuration; the update is the only one and has one minibatch."""
    model = make_model("gpt2", dropout=0.3)
    ppo = make_sb3(model, critic=critic, clip_range=1e-4, learning_rate=1e-2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ppo.learn(64)
    assert ppo.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-8)
    assert ppo.logger.name_to_value["train/clip_fraction"] == 0
    trained = ppo.policy.lm.policy.state_dict()
    assert all(not torch.equal(trained[name], value) for name, value in before.items())
    # What was given stays what it was: the reference and other runs start from it.
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    ppo.learn(64)
    if critic == "separate":
        started = model.base_model.state_dict()
        learnt = ppo.policy.lm.critic_trunk.state_dict()
        assert all(not torch.equal(learnt[name], value) for name, value in started.items())


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("length_limit", ["scored", "cut"])
def test_sb3_algorithms_learn(algorithm: Any, length_limit: str, make_model: Any, make_sb3: Any) -> None:
    env = {"length_limit": length_limit, "reward": lambda prompts, completions: [t.count("a") for t in completions]}
    sb3 = make_sb3(make_model("gpt2"), algorithm=algorithm, ent_coef=0.0, learning_rate=3e-3, env=env)
    sb3.learn(256)
    start = np.mean([episode["r"] for episode in sb3.ep_info_buffer])
    assert np.isfinite(sb3.logger.name_to_value["train/value_loss"])
    # A cut completion is not scored, so that only short ones are worth something: learning takes long then.
    if length_limit == "scored":
        sb3.learn(1536)
        assert np.mean([episode["r"] for episode in sb3.ep_info_buffer]) > start + 1


def test_what_is_saved_predicts_the_same(make_model: Any, make_sb3: Any, tmp_path: Path) -> None:
    model, folder, archive = make_model("gpt2", vocab_size=V + 5), tmp_path / "start", tmp_path / "trained.zip"
    model.save_pretrained(folder)
    observation = padded(ROWS, 11)
    for start in (model, folder, str(folder)):
        ppo = make_sb3(model, start=start, learning_rate=1e-2)
        ppo.learn(64)
        ppo.save(archive)
        ppo.policy.save(tmp_path / "policy.pt")
        expected, untrained = outputs(ppo.policy, observation), outputs(make_sb3(model).policy, observation)
        assert np.abs(expected[0] - untrained[0]).max() > 0.01
        for loaded in (PPO.load(archive).policy, CausalLMPolicy.load(tmp_path / "policy.pt")):
            for mine, theirs in zip(outputs(loaded, observation), expected, strict=True):
                np.testing.assert_array_equal(mine, theirs)
    tokens, _ = PPO.load(archive).predict(observation, deterministic=True)
    np.testing.assert_array_equal(tokens, expected[0].argmax(axis=1))
    alone, _ = ppo.predict({key: values[1] for key, values in observation.items()}, deterministic=True)
    assert alone.shape == () and alone == tokens[1]
    ppo.policy.lm.save_pretrained(tmp_path / "lm")
    # The folder of an ActorCriticLM brings its critic along.
    again = make_sb3(model, start=tmp_path / "lm")
    for mine, theirs in zip(outputs(again.policy, observation), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert isinstance(again.policy.lm, ActorCriticLM)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="no model here"):
        PPO.load(archive)
    loaded = PPO.load(archive, custom_objects={"policy_kwargs": {"model": model.config}})
    np.testing.assert_array_equal(outputs(loaded.policy, observation)[0], expected[0])


def test_a_loaded_algorithm_trains_on_as_the_first_would(make_model: Any, make_sb3: Any, tmp_path: Path) -> None:
    """Adam's moments are saved too: from the same state both make the same step."""
    model = make_model("gpt2")
    ppo = make_sb3(model)
    ppo.learn(128)
    ppo.save(tmp_path / "ppo.zip")
    results = []
    for each in (ppo, PPO.load(tmp_path / "ppo.zip")):
        each.set_env(make_sb3(model).env)
        each.set_random_seed(3)
        each.learn(128)
        results.append(torch.cat([value.flatten() for value in each.policy.parameters()]).detach().numpy())
    np.testing.assert_array_equal(results[0], results[1])


def test_what_does_not_fit_is_named(make_model: Any, make_sb3: Any) -> None:
    model = make_model("gpt2")
    with pytest.raises(InputError, match="Leave out action_tokens"):
        make_sb3(model, env={"action_tokens": [0, 1, 2]})
    with pytest.raises(InputError, match="do not fit the reference's context of 64"):
        make_sb3(model, env={"max_new_tokens": 60})
    with pytest.raises(InputError, match="knows 5 tokens, the tokenizer has 8"):
        make_sb3(model, start=make_model("gpt2", vocab_size=5))
    with pytest.raises(InputError, match="observation space Box"):
        PPO(CausalLMPolicy, "CartPole-v1", policy_kwargs={"model": model})
    with pytest.raises(InputError, match="action_masks"):
        make_sb3(model, env={"min_new_tokens": 3}).learn(64)
