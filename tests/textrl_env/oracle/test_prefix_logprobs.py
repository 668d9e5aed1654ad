"""A cached walk over the tree gives what every prefix alone gives, whatever kind of cache the model has."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from textrl_env import InputError
from textrl_env.oracle import PrefixTree, prefix_logprobs, prefix_tree

PROMPT = np.array([3, 1, 2, 1])
SIZES = {
    "vocab_size": 8,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
# A window of three: it is full before the prompt ends.
SLIDING = {"head_dim": 8, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}
GPT = {"vocab_size": 8, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}
KINDS: dict[str, dict[str, Any]] = {
    "GPT2": {**GPT, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
    "Llama": SIZES,
    "Qwen2": SIZES,
    "Qwen3": {**SIZES, "head_dim": 8},
    "Gemma2": {**SIZES, **SLIDING},
    "Gemma3Text": {**SIZES, **SLIDING},
    "Mistral": {**SIZES, "sliding_window": 3},
    "Phi3": SIZES,
    "GPTNeoX": {key: value for key, value in SIZES.items() if key != "num_key_value_heads"},
    "Bloom": {"vocab_size": 8, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    # Layers with a recurrent state beside layers with keys and values.
    "Lfm2": {**SIZES, "layer_types": ["conv", "full_attention"]},
    # No cache at all.
    "OpenAIGPT": GPT,
}


@pytest.fixture(params=KINDS)
def any_model(request: pytest.FixtureRequest) -> Any:
    config = getattr(transformers, f"{request.param}Config")(**KINDS[request.param])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5)
    return model.eval()


def empty_tree(vocab_size: int, horizon: int) -> PrefixTree:
    return prefix_tree(vocab_size, horizon, eos_id=0, score=lambda batch: np.zeros(len(batch)))


@pytest.mark.parametrize("batch_size", [2, 1000])
def test_the_walk_gives_what_each_prefix_alone_gives(any_model: Any, exact_logprobs: Any, batch_size: int) -> None:
    tree = empty_tree(vocab_size=4, horizon=3)
    levels = prefix_logprobs(any_model, PROMPT, tree, vocab_size=4, batch_size=batch_size)
    alone = exact_logprobs(any_model, vocab_size=4)
    for level, prefixes in zip(levels, tree.prefixes, strict=True):
        assert level.shape == (len(prefixes), 4)
        for row, prefix in enumerate(prefixes):
            np.testing.assert_allclose(level[row], alone([*PROMPT, *prefix])[-1], rtol=0, atol=1e-5)
    # Were they all alike, a mistaken parent would go unnoticed.
    assert np.ptp(levels[-1], axis=0).max() > 0.5


def test_a_model_with_a_cache_reads_each_token_once_and_never_more_rows_than_asked(make_model: Any) -> None:
    model, tree, shapes = make_model("llama"), empty_tree(vocab_size=5, horizon=4), []
    model.register_forward_pre_hook(lambda *call: shapes.append(tuple(call[2]["input_ids"].shape)), with_kwargs=True)
    prefix_logprobs(model, PROMPT, tree, vocab_size=5, batch_size=7)
    assert shapes[0] == (1, len(PROMPT))
    assert {width for _, width in shapes[1:]} == {1}
    assert max(rows for rows, _ in shapes) == 7
    assert 1 + sum(rows for rows, _ in shapes[1:]) == sum(map(len, tree.prefixes))


def test_impossible_arguments_are_named(make_model: Any) -> None:
    with pytest.raises(InputError, match="prompt_ids must hold at least one token"):
        prefix_logprobs(make_model("llama"), PROMPT[:0], empty_tree(4, 2), vocab_size=4)
    with pytest.raises(InputError, match="the model knows 8 tokens, vocab_size is 9"):
        prefix_logprobs(make_model("llama"), PROMPT, empty_tree(9, 2), vocab_size=9)
