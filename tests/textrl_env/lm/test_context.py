"""The context that a configuration declares is what its model takes: so long a text runs, and one longer does not."""

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModel

from textrl_env.lm import context_length

SIZES = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32}
LLAMA3 = YARN | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}


def config(kind: str, **options: Any) -> Any:
    return getattr(transformers, f"{kind}Config")(**options)


# Tables of positions, and MPT's biases, end where the context does.
TABLES = {
    "GPT2": config("GPT2", vocab_size=20, n_positions=32, n_embd=16, n_layer=1, n_head=2),
    "OPT": config("OPT", **SIZES, max_position_embeddings=32, ffn_dim=16, word_embed_proj_dim=16),
    "Mpt": config("Mpt", vocab_size=20, d_model=16, n_layers=1, n_heads=2, max_seq_len=32),
    "Bert": config("Bert", **SIZES, max_position_embeddings=32),
    "Roberta": config("Roberta", **SIZES, max_position_embeddings=34, pad_token_id=1),
    "XLMRoberta": config("XLMRoberta", **SIZES, max_position_embeddings=34, pad_token_id=1),
    "Bart": config("Bart", vocab_size=20, d_model=16, encoder_layers=1, decoder_layers=1, max_position_embeddings=32),
}


@pytest.mark.parametrize("kind", TABLES)
def test_the_longest_text_runs_and_one_token_more_does_not(kind: str) -> None:
    model = AutoModel.from_config(TABLES[kind]).eval()
    limit = context_length(model)
    assert limit == 32
    model(input_ids=torch.full((1, limit), 5))
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        model(input_ids=torch.full((1, limit + 1), 5))


# What has no end: twice any number that its configuration holds runs.
ENDLESS = {
    "Bloom": config("Bloom", vocab_size=20, hidden_size=16, n_layer=1, n_head=2, seq_length=32),
    "Falcon": config("Falcon", **SIZES, alibi=True, max_position_embeddings=32),
    "Mamba": config("Mamba", vocab_size=20, hidden_size=16, num_hidden_layers=1, state_size=4),
    "RecurrentGemma": config("RecurrentGemma", **SIZES, num_key_value_heads=1, lru_width=16, attention_window_size=32),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_limit_runs_far_beyond_any_number_of_its_configuration(kind: str) -> None:
    model = AutoModel.from_config(ENDLESS[kind]).eval()
    assert context_length(model) is context_length(model.config) is None
    assert model(input_ids=torch.full((1, 80), 5), use_cache=False).last_hidden_state.isfinite().all()


@pytest.mark.parametrize(
    ("declared", "limit"),
    [
        (config("Llama", max_position_embeddings=64), 64),
        (config("Qwen2", max_position_embeddings=32, rope_parameters=YARN), 128),
        (config("Qwen2", max_position_embeddings=256, rope_parameters=YARN), 256),
        (config("Llama", max_position_embeddings=64, rope_parameters=LLAMA3), 64),
        (config("Llama", max_position_embeddings=64, rope_parameters=LINEAR), 64),
        (config("Gemma3Text", max_position_embeddings=64), 64),
        (config("Gemma3", text_config={"max_position_embeddings": 64}), 64),
        (config("Falcon", max_position_embeddings=64), 64),
        (config("GPTNeoX", max_position_embeddings=64), 64),
        (config("Phi", max_position_embeddings=64), 64),
        (config("XLNet"), None),
    ],
)
def test_the_rule_by_configuration(declared: Any, limit: int | None) -> None:
    assert context_length(declared) == limit
