"""Gradient checkpointing: the same gradients from far fewer tensors kept, in packed models and in transformers' own."""

from typing import Any

import pytest
import torch
from torch import Tensor

from textrl_env import InputError
from textrl_env.agents import ActorCriticLM, Rollout, collect
from textrl_env.lm import as_device
from textrl_env.lm.adapters import with_lora

V = 8


def gradients(agent: ActorCriticLM, rollout: Rollout) -> tuple[dict[str, Tensor], int]:
    """Of a loss of log-probabilities, entropies and values; and the bytes that autograd kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    agent.zero_grad()
    own = {parameter.untyped_storage().data_ptr() for parameter in agent.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        new = agent.evaluate(rollout)
        assert new.entropies is not None and new.values is not None
        total = new.logprobs.sum() + new.entropies.sum() + (new.values - 1).square().sum()
    total.backward()
    named = {name: value.grad for name, value in agent.named_parameters() if value.grad is not None}
    return named, sum(size for storage, size in kept.items() if storage not in own)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("critic", ["separate", "shared"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_gradients_are_the_same_and_less_is_kept(
    make_model: Any, make_env: Any, kind: str, critic: Any, precision: Any, lora: bool
) -> None:
    model = make_model(kind, dropout=0.5, layers=6)
    model = with_lora(model) if lora else model
    agent = ActorCriticLM(model, vocab_size=V, critic=critic, precision=precision)
    torch.nn.init.normal_(agent.value_head.weight, generator=torch.Generator().manual_seed(0))
    env = make_env()
    env.reset(seed=0)
    rollout = collect(env, agent, 8)
    assert rollout is not None
    before = torch.get_rng_state()
    plain, much = gradients(agent, rollout)
    agent.gradient_checkpointing = True
    recomputed, little = gradients(agent, rollout)
    assert plain.keys() == recomputed.keys() and len(plain) > 10
    for name, value in plain.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-5, atol=1e-6)
    # Of 6 layers the packed path keeps the last, transformers' own none; the head and the losses keep theirs.
    assert little < 0.5 * much
    assert torch.equal(torch.get_rng_state(), before)
    # The rollout after an update runs from the cache, and sees nothing of it.
    again = collect(env, agent, 8)
    assert again is not None
    scored = agent.evaluate(again).logprobs
    tolerance = 1e-5 if precision == "float32" else 5e-2
    torch.testing.assert_close(
        scored[again.completion_mask], again.logprobs[again.completion_mask], rtol=0, atol=tolerance
    )


def test_devices_by_name() -> None:
    assert as_device("cpu") == torch.device("cpu") and as_device(torch.device("cpu")).type == "cpu"
    assert as_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="device must be 'auto', 'cpu'"):
        as_device("gpu")


def test_no_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no GPU here"):
        as_device("cuda")
