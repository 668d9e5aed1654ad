"""Tiny reward models on a tokenizer of bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents import train_tokenizer
from textrl_env.reward_models import RewardModel


@pytest.fixture
def make_reward_model(make_model: Any, tmp_path: Path) -> Callable[..., RewardModel]:
    """A reward model with a new head from a causal LM of a kind; `pad_is_eos` as SmolLM2's and GPT-2's tokenizers."""

    def make(kind: str = "gpt2", *, pad_is_eos: bool = False, seed: int = 0) -> RewardModel:
        tokenizer = train_tokenizer(["ab"], vocab_size=259)
        if pad_is_eos:
            tokenizer.pad_token = tokenizer.eos_token
        folder = tmp_path / f"{kind}{pad_is_eos}"
        model = make_model(kind, vocab_size=len(tokenizer))
        model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id = None, 1, 2
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return RewardModel.from_pretrained(folder, seed=seed)

    return make
