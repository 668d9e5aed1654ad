"""Packed forwards against transformers' own, one unpadded sequence at a time in float64, for every kind of model."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from textrl_env.lm.forward import read_logits, read_states, token_logprobs
from textrl_env.lm.forward.packing import pack
from textrl_env.lm.forward.trunks import trunk_of

V = 11
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
GPT2: dict[str, Any] = {
    "vocab_size": V,
    "n_positions": 32,
    "n_embd": 16,
    "n_layer": 3,
    "n_head": 4,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
SCALED = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2Config(**GPT2),
    "gpt2, untied, exact gelu": lambda: GPT2Config(**GPT2, activation_function="gelu", tie_word_embeddings=False),
    "gpt2, relu": lambda: GPT2Config(**GPT2, activation_function="relu"),
    "gpt2, attention scaled by layer": lambda: GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True),
    "llama": lambda: LlamaConfig(**SIZES, num_key_value_heads=4),
    "llama, grouped, biased, tied": lambda: LlamaConfig(
        **SIZES, num_key_value_heads=2, attention_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
    "llama, scaled positions": lambda: LlamaConfig(
        **SIZES, num_key_value_heads=1, rope_parameters={**SCALED, "original_max_position_embeddings": 8}
    ),
    "llama, wide heads": lambda: LlamaConfig(**SIZES, num_key_value_heads=2, head_dim=8),
    "qwen2": lambda: Qwen2Config(**SIZES, num_key_value_heads=2),
    "qwen3": lambda: Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=4),
    "gemma2": lambda: Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=4, sliding_window=4),
}
PACKED = [name for name in CONFIGS if name.startswith("llama") or name in ("gpt2", "gpt2, untied, exact gelu")]


def model_of(name: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(CONFIGS[name]())
        for parameter in model.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def sequences() -> tuple[Tensor, Tensor, Tensor]:
    """Rows with padding on both sides, one of a single token, and a few states that are read."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(V, (5, 12), generator=generator)
    spans = [(0, 12), (3, 9), (5, 6), (2, 12), (0, 4)]
    mask = torch.zeros(5, 12, dtype=torch.bool)
    for row, (start, end) in enumerate(spans):
        mask[row, start:end] = True
    read = mask & (torch.rand(5, 12, generator=generator) < 0.5)
    read[2, 5] = True
    return ids, mask, read


def alone(model: Any, ids: Tensor, mask: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and last hidden states of the states that are read, from one sequence at a time, with gradients."""
    logits, states = [], []
    for row in range(len(ids)):
        output = model(ids[row][mask[row]][None], use_cache=False, output_hidden_states=True)
        logits.append(output.logits[0][read[row][mask[row]]])
        states.append(output.hidden_states[-1][0][read[row][mask[row]]])
    return torch.cat(logits), torch.cat(states)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_states_and_gradients_are_those_of_single_sequences(
    name: str, sequences: tuple[Tensor, Tensor, Tensor]
) -> None:
    model = model_of(name)
    double = copy.deepcopy(model).double()
    logits, states = read_logits(model, *sequences, with_states=True)
    slow_logits, slow_states = alone(double, *sequences)
    assert states is not None
    torch.testing.assert_close(logits, slow_logits, rtol=0, atol=1e-5, check_dtype=False)
    torch.testing.assert_close(states, slow_states, rtol=0, atol=1e-5, check_dtype=False)
    torch.testing.assert_close(read_states(model.base_model, *sequences), states, rtol=0, atol=1e-5)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    (logits * weights).sum().backward()  # type: ignore[no-untyped-call]
    (slow_logits * weights).sum().backward()  # type: ignore[no-untyped-call]
    for parameter, slow in zip(model.parameters(), double.parameters(), strict=True):
        assert (parameter.grad is None) == (slow.grad is None)
        if slow.grad is not None:
            scale = max(1.0, float(slow.grad.abs().max()))
            torch.testing.assert_close(parameter.grad, slow.grad, rtol=0, atol=2e-5 * scale, check_dtype=False)


@pytest.mark.parametrize("name", CONFIGS)
def test_only_what_is_known_to_be_right_is_packed(name: str) -> None:
    assert (trunk_of(model_of(name)) is not None) == (name in PACKED)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_model_with_a_forward_of_somebodys_own_or_with_dropout_is_not_packed(name: str) -> None:
    model = model_of(name)
    layer = model.base_model.layers[1].mlp if name == "llama" else model.base_model.h[1].mlp
    original = layer.forward
    layer.forward = lambda x: 2 * original(x)
    assert trunk_of(model) is None
    del layer.forward
    assert trunk_of(model) is not None
    if name == "gpt2":
        assert trunk_of(model.train()) is None
        assert trunk_of(model.eval()) is not None


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_hook_on_a_layer_is_called(name: str, sequences: tuple[Tensor, Tensor, Tensor]) -> None:
    """The packed path goes through a layer's parts, so a model with hooks on layers takes its own forward."""
    model, calls = model_of(name), 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    layers = next(part for part in model.base_model.children() if isinstance(part, torch.nn.ModuleList))
    without = read_logits(model, *sequences).logits
    hook = layers[0].register_forward_pre_hook(count)
    assert torch.allclose(read_logits(model, *sequences).logits, without, atol=1e-5) and calls == 1
    hook.remove()
    leaf = next(part for part in layers[0].modules() if not list(part.children()))
    leaf.register_forward_pre_hook(count)
    assert trunk_of(model) is not None
    read_logits(model, *sequences)
    assert calls == 2


def test_padding_is_not_computed(sequences: tuple[Tensor, Tensor, Tensor]) -> None:
    ids, mask, read = sequences
    packing = pack(ids, mask, read)
    assert len(packing.ids) == len(packing.positions) == int(mask.sum())
    assert len(packing.read) == int(read.sum())


@pytest.mark.parametrize("name", ["gpt2", "llama, grouped, biased, tied"])
@pytest.mark.parametrize("wrapped", ["autocast", "bfloat16 weights"])
def test_half_precision_stays_near(name: str, wrapped: str, sequences: tuple[Tensor, Tensor, Tensor]) -> None:
    model = model_of(name)
    exact = read_logits(model, *sequences).logits
    if wrapped == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            rounded = read_logits(model, *sequences).logits
        assert rounded.dtype == torch.float32
    else:
        rounded = read_logits(model.bfloat16(), *sequences).logits.float()
    difference = float((rounded - exact).abs().max().detach())
    assert 0 < difference < 0.05 * float(exact.abs().max().detach())


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_token_logprobs_ignore_logits_beyond_the_vocabulary(temperature: float) -> None:
    logits = torch.randn(6, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = torch.tensor([0, 3, 6, 2, 1, 5])
    slow = torch.log_softmax(logits[:, :7] / temperature, dim=-1)[torch.arange(6), tokens]
    out = token_logprobs(logits, tokens, vocab_size=7, temperature=temperature)
    torch.testing.assert_close(out, slow, rtol=0, atol=1e-6, check_dtype=False)
