"""A small world with ragged prompts, and an agent and a trainer for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

V = 8


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [float(text.count("a")) - 0.3 * len(text) for text in completions]


@pytest.fixture
def make_env() -> Callable[..., TextGenVectorEnv]:
    """A vector environment on prompts of 1 to 5 tokens; with a model, KL shaping towards it."""

    def make(reference: Any = None, *, num_envs: int = 4, **options: Any) -> TextGenVectorEnv:
        frozen = {name: options.pop(name) for name in ("temperature", "precision") if name in options}
        if reference is not None:
            options["kl"] = options.get("kl", KLShaping(0.1, "sampled", pay="episode"))
            options["reference"] = FrozenReference(reference, vocab_size=V, **frozen)
        return TextGenVectorEnv(
            ["abcde", "f", "gab", "cd"],
            options.pop("reward", count_a),
            LetterTokenizer(V),
            num_envs=num_envs,
            autoreset_mode=options.pop("autoreset_mode", "Disabled"),
            **{"max_new_tokens": 6, **options},
        )

    return make


@pytest.fixture
def make_ppo(make_model: Any, make_env: Any) -> Callable[..., PPO]:
    """PPO on a GPT-2 of its own, 8 episodes in 4 slots; `env` holds options of the environment."""

    def make(*, env: dict[str, Any] | None = None, critic: Any = "separate", **options: Any) -> PPO:
        model = make_model("gpt2")
        agent = ActorCriticLM(model, vocab_size=V, critic=critic)
        defaults = {"n_episodes": 8, "batch_size": 4, "n_epochs": 2, "learning_rate": 1e-3, "seed": 0}
        return PPO(agent, make_env(model, **(env or {})), **defaults | options)

    return make


@pytest.fixture
def untied_gpt2() -> Any:
    """A fresh GPT-2 whose head is its own, and gives distributions near uniform: a start for the exact tests."""
    width = 64
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=8,
            n_positions=8,
            n_embd=width,
            n_layer=2,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
            tie_word_embeddings=False,
        )
        model: Any = GPT2LMHeadModel(config)
        torch.nn.init.normal_(model.lm_head.weight, std=6 / width)
    return model.eval()
