"""LoRA: only adapters are trained, all forwards see them, and switched off they leave the model as it was."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from textrl_env import InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, collect
from textrl_env.lm.adapters import with_lora
from textrl_env.lm.forward import read_logits
from textrl_env.reference import AdapterOffReference, FrozenReference
from textrl_env.worlds import LetterTokenizer

V = 8
KINDS = ["gpt2", "llama", "qwen2"]


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [float(text.count("a")) - 0.3 * len(text) for text in completions]


def lora_ppo(model: Any, *, critic: Any = "separate", pay: Any = "episode", **options: Any) -> PPO:
    agent = ActorCriticLM(with_lora(model, rank=4, alpha=8), vocab_size=V, critic=critic, **options)
    env = TextGenVectorEnv(
        ["abcde", "f", "gab", "cd"],
        count_a,
        LetterTokenizer(V),
        num_envs=4,
        autoreset_mode="Disabled",
        max_new_tokens=6,
        kl=KLShaping(0.1, "sampled", pay=pay),
        reference=AdapterOffReference(agent.policy, vocab_size=V, precision=agent.precision),
    )
    return PPO(agent, env, n_episodes=8, batch_size=4, n_epochs=2, learning_rate=1e-2)


def some_rows() -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.tensor([[0, 0, 3, 4, 5], [1, 2, 3, 6, 7]])
    mask = torch.tensor([[False, False, True, True, True], [True] * 5])
    return ids, mask, mask & (torch.arange(5) < 4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_the_model_before_the_adapters_at_every_time(
    make_model: Any, kind: str, precision: Any
) -> None:
    model = make_model(kind)
    separate = FrozenReference(model, vocab_size=V, precision=precision)
    ppo = lora_ppo(model, precision=precision)
    off = ppo.env.task.reference
    assert isinstance(off, AdapterOffReference) and off.model is ppo.policy.policy
    observation, _ = ppo.env.reset(seed=3)
    ids, attended, live = observation["input_ids"], observation["attention_mask"], observation["input_ids"][:, 0] >= 0

    def both() -> list[tuple[Any, Any]]:
        rows = some_rows()
        return [
            (off.following_logprobs(*rows), separate.following_logprobs(*rows)),
            (off.completion_logprobs(ids, attended, 3), separate.completion_logprobs(ids, attended, 3)),
            (off.decoder().next_logprobs(ids, attended, live), separate.decoder().next_logprobs(ids, attended, live)),
        ]

    for mine, theirs in both():
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    before = read_logits(ppo.policy.policy, *some_rows()).logits
    ppo.learn(total_updates=2)
    for mine, theirs in both():
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    after = read_logits(ppo.policy.policy, *some_rows()).logits
    assert float((after - before).detach().abs().max()) > 1e-3
    assert all(value.requires_grad for name, value in ppo.policy.policy.named_parameters() if "lora_" in name)


@pytest.mark.parametrize("pay", ["step", "episode"])
def test_both_ways_to_pay_the_reference_see_the_kl_of_the_adapters_alone(make_model: Any, pay: Any) -> None:
    ppo = lora_ppo(make_model("gpt2"), pay=pay)
    first = collect(ppo.env, ppo.policy, 8)
    assert first is not None and float(first.kl.abs().max()) < 1e-5
    ppo.learn(total_updates=3)
    rollout = collect(ppo.env, ppo.policy, 8)
    assert rollout is not None
    reference = ppo.env.task.reference
    counted = rollout.completion_mask
    of_reference = torch.zeros(counted.shape).masked_scatter(counted, reference.following_logprobs(*rollout.states()))
    slow = torch.where(counted, rollout.logprobs - of_reference, 0.0).sum(dim=1)
    torch.testing.assert_close(rollout.kl, slow, rtol=0, atol=1e-4)
    assert float(slow.abs().max()) > 1e-2


@pytest.mark.parametrize("critic", ["separate", "shared"])
@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_and_the_value_head_are_trained_and_nothing_frozen_is_copied(
    make_model: Any, kind: str, critic: Any
) -> None:
    model = make_model(kind)
    weights = {value.data_ptr() for value in model.parameters()}
    ppo = lora_ppo(model, critic=critic)
    agent = ppo.policy
    start = {name: value.detach().clone() for name, value in agent.named_parameters()}
    frozen = [value for value in agent.parameters() if not value.requires_grad]
    assert {value.data_ptr() for value in frozen} == weights
    ppo.learn(total_updates=2)
    for name, value in agent.named_parameters():
        assert torch.equal(value, start[name]) != value.requires_grad, name
        assert value.requires_grad == ("lora_" in name or "value_head" in name)
    held = {id(value) for group in ppo.optimizer.param_groups for value in group["params"]}
    assert held == {id(value) for value in agent.parameters() if value.requires_grad}
    if critic == "separate":
        mine, its = (
            [value for name, value in part.named_parameters() if "lora_" in name]
            for part in (agent.policy, agent.critic_trunk)
        )
        assert mine and len(mine) >= len(its) > 0
        assert not {value.data_ptr() for value in mine} & {value.data_ptr() for value in its}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_forward_sees_the_adapters(make_model: Any, exact_logprobs: Any, kind: str, precision: Any) -> None:
    ppo = lora_ppo(make_model(kind), precision=precision)
    ppo.learn(total_updates=2)
    agent = ppo.policy
    rollout = collect(ppo.env, agent, 8)
    assert rollout is not None
    counted = rollout.completion_mask
    scored = agent.evaluate(rollout).logprobs
    tolerance = 1e-5 if precision == "float32" else 3e-2
    torch.testing.assert_close(scored[counted], rollout.logprobs[counted], rtol=0, atol=tolerance)
    slow = exact_logprobs(agent.policy)
    for row in range(8):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        completion = rollout.completion_ids[row][counted[row]].tolist()
        expected = slow(prompt + completion)[len(prompt) - 1 : -1]
        alone = torch.from_numpy(expected[range(len(completion)), completion]).float()
        torch.testing.assert_close(scored[row][counted[row]].detach(), alone, rtol=0, atol=max(tolerance, 1e-5) * 3)


@pytest.mark.parametrize("critic", ["separate", "shared"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_holds_the_merged_model_the_adapter_and_all_that_resuming_needs(
    make_model: Any, tmp_path: Path, kind: str, critic: Any
) -> None:
    base = make_model(kind)
    ppo = lora_ppo(copy.deepcopy(base), critic=critic).learn(total_updates=1)
    path = ppo.save(tmp_path / "checkpoint")
    mine = read_logits(ppo.policy.policy, *some_rows()).logits

    plain, info = AutoModelForCausalLM.from_pretrained(path / "policy", output_loading_info=True)
    assert not info["unexpected_keys"] and not info["missing_keys"]
    assert {name for name, _ in plain.named_parameters()} == {name for name, _ in base.named_parameters()}
    torch.testing.assert_close(read_logits(plain, *some_rows()).logits, mine, rtol=0, atol=1e-4)
    adapted = PeftModel.from_pretrained(copy.deepcopy(base), path / "policy" / "adapter").get_base_model()
    torch.testing.assert_close(read_logits(adapted, *some_rows()).logits, mine, rtol=0, atol=0)

    again = ActorCriticLM.from_pretrained(path, critic=critic)
    rows = some_rows()
    torch.testing.assert_close(again.state_values(*rows), ppo.policy.state_values(*rows), rtol=0, atol=1e-4)

    resumed = lora_ppo(copy.deepcopy(base), critic=critic)
    resumed.load(path)
    saved, loaded = ppo.policy.state_dict(), resumed.policy.state_dict()
    assert saved.keys() == loaded.keys() and all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_a_peft_model_is_taken_as_it_is(make_model: Any) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    agent = ActorCriticLM(get_peft_model(make_model("llama"), config), vocab_size=V)
    trained = {name for name, value in agent.named_parameters() if value.requires_grad}
    assert len(trained) == 2 * 2 * 2 * 2 + 2  # two matrices on two layers' two projections, twice; the value head
    reference = AdapterOffReference(agent.policy, vocab_size=V)
    assert len(reference.adapters) == 4


def test_what_cannot_be_is_refused(make_model: Any, make_env: Any, make_ppo: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rank must be at least 1, got 0"):
        with_lora(make_model("gpt2"), rank=0)
    with pytest.raises(InputError, match=r"target_modules=\['nowhere'\] does not fit"):
        with_lora(make_model("gpt2"), target_modules=["nowhere"])
    with pytest.raises(InputError, match="no adapters to switch off"):
        AdapterOffReference(make_model("gpt2"), vocab_size=V)
    model = with_lora(make_model("gpt2"))
    with pytest.raises(InputError, match="has adapters already"):
        with_lora(model)
    model.transformer.ln_f.weight.requires_grad_(True)
    with pytest.raises(InputError, match=r"transformer.ln_f.weight is trained"):
        AdapterOffReference(model, vocab_size=V)
    full = make_ppo().save(tmp_path / "full")
    with pytest.raises(InputError, match="no adapter here"):
        lora_ppo(make_model("gpt2")).load(full)
    path = lora_ppo(make_model("gpt2")).save(tmp_path / "lora")
    other = ActorCriticLM(with_lora(make_model("gpt2"), rank=8), vocab_size=V)
    with pytest.raises(InputError, match="adapters of another rank"):
        other.load_pretrained(path)
