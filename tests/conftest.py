"""Tiny models and tokenizers made on the spot; nothing is downloaded."""

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from textrl_env.worlds.enumerable import LetterTokenizer

torch.set_num_threads(1)


def tiny_model(kind: str, *, vocab_size: int = 8, dropout: float = 0.0, seed: int = 0, width: int = 32) -> Any:
    """A two-layer causal LM with weights large enough that its distributions are far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            model: Any = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocab_size, n_positions=64, n_embd=width, n_layer=2, n_head=2, bos_token_id=0,
                    eos_token_id=0, pad_token_id=0, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout,
                )
            )  # fmt: skip
        else:
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=vocab_size, max_position_embeddings=64, hidden_size=width, intermediate_size=2 * width,
                    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, bos_token_id=0, eos_token_id=0,
                    pad_token_id=0, attention_dropout=dropout,
                )
            )  # fmt: skip
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5)
    return model.eval()


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    """Absolute positions and rotary ones: a missing position_ids is invisible on Llama."""
    return tiny_model(request.param)


@pytest.fixture
def tokenizer() -> LetterTokenizer:
    return LetterTokenizer(8)
