"""Any causal LM of transformers: every architecture, head and vocabulary goes through the same update.

What differs from model to model is how positions, windows, norms and caches work; what must not differ is that the
update scores what was sampled, and that what is saved is what was trained.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, Batch, collect
from textrl_env.reference import FrozenReference
from textrl_env.training import seeded
from textrl_env.worlds import LetterTokenizer

V, PADDED = 8, 24
LLAMA_LIKE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
# A window shorter than the texts, in one of the two layers, so that it matters.
WINDOWS = {"head_dim": 4, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (GPT2Config, {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "llama": (LlamaConfig, LLAMA_LIKE),
    "qwen2": (Qwen2Config, LLAMA_LIKE),
    "qwen3": (Qwen3Config, LLAMA_LIKE | {"head_dim": 4}),
    "gemma2": (Gemma2Config, LLAMA_LIKE | WINDOWS | {"query_pre_attn_scalar": 4}),
    "gemma3": (Gemma3TextConfig, LLAMA_LIKE | WINDOWS | {"query_pre_attn_scalar": 4}),
}


class PadIsEnd(LetterTokenizer):
    """A tokenizer whose padding token is its end token, as SmolLM2's is."""

    @property
    def pad_token_id(self) -> int:
        return self.eos_token_id


def build(kind: str, *, tied: bool, padded: bool) -> Any:
    config, shape = KINDS[kind]
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    made = config(vocab_size=PADDED if padded else V, tie_word_embeddings=tied, **shape, **ids)
    with seeded(0):
        model = AutoModelForCausalLM.from_config(made)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.0 / parameter.shape[-1] ** 0.5)
    return model.eval()


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [float(text.count("a")) - 0.3 * len(text) for text in completions]


def trainer(model: Any, tokenizer: LetterTokenizer, critic: Any) -> PPO:
    agent = ActorCriticLM(model, vocab_size=V, critic=critic)
    env = TextGenVectorEnv(
        ["abcdefg", "f", "gab", "cd"],
        count_a,
        tokenizer,
        num_envs=4,
        autoreset_mode="Disabled",
        max_new_tokens=6,
        kl=KLShaping(0.1, "sampled"),
        reference=FrozenReference(model, vocab_size=V),
    )
    return PPO(agent, env, n_episodes=8, n_epochs=1, learning_rate=1e-2, seed=1)


@pytest.mark.parametrize("pad_is_end", [False, True], ids=["pad", "pad==eos"])
@pytest.mark.parametrize("padded", [False, True], ids=["exact", "padded"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_update_scores_what_was_sampled_and_is_saved_whole(
    kind: str, tied: bool, padded: bool, pad_is_end: bool, tmp_path: Path
) -> None:
    model = build(kind, tied=tied, padded=padded)
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    tokenizer = PadIsEnd(V) if pad_is_end else LetterTokenizer(V)
    ppo = trainer(model, tokenizer, "shared" if tied else "separate")
    rollout = collect(ppo.env, ppo.policy, 8)
    assert rollout is not None and len(set(rollout.completion_mask.sum(dim=1).tolist())) > 1
    assert int(rollout.completion_ids.max()) < V
    assert float(rollout.kl.abs().max()) < 1e-4
    with torch.no_grad():
        batch = Batch(rollout, ppo.advantages(rollout), ppo.weights(rollout.completion_mask))
        _, statistics = ppo.loss(batch)
    assert float(statistics["ratio"]) == pytest.approx(1, abs=1e-5)
    assert float(statistics["clip_fraction"]) == 0

    before = {name: value.clone() for name, value in ppo.policy.state_dict().items()}
    ppo.learn(total_updates=1)
    logged = ppo.state.last_row
    assert {"train/loss", "train/value_loss", "objective/kl"} < set(logged)
    assert all(np.isfinite(value) for value in logged.values())
    after = ppo.policy.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert len(moved) > len(before) / 2

    ppo.policy.save_pretrained(tmp_path)
    plain, info = AutoModelForCausalLM.from_pretrained(tmp_path / "policy", output_loading_info=True)
    assert not info["unexpected_keys"] and not info["missing_keys"]
    assert (plain.get_input_embeddings().weight is plain.get_output_embeddings().weight) == tied
    again = ActorCriticLM.from_pretrained(tmp_path, vocab_size=V, critic=ppo.policy.critic_kind).state_dict()
    assert again.keys() == after.keys() and all(torch.equal(again[name], after[name]) for name in after)


@pytest.mark.parametrize("kind", KINDS)
def test_batched_cached_and_packed_forwards_are_those_of_each_text_alone(kind: str, exact_logprobs: Any) -> None:
    model = build(kind, tied=False, padded=True)
    agent = ActorCriticLM(model, vocab_size=V)
    # Two slots for eight completions: slots are refilled beside running ones.
    env = TextGenVectorEnv(
        ["abcdefg", "f", "gab", "cd"],
        count_a,
        LetterTokenizer(V),
        num_envs=2,
        autoreset_mode="Disabled",
        max_new_tokens=8,
    )
    env.reset(seed=0)
    rollout = collect(env, agent, 8)
    assert rollout is not None
    scored = agent.evaluate(rollout, entropies=False).logprobs.detach()
    slow = exact_logprobs(model)
    for row, (prompt_ids, ids) in enumerate(zip(rollout.prompt_ids, rollout.completion_ids, strict=True)):
        counted = rollout.completion_mask[row]
        prompt, completion = prompt_ids[rollout.prompt_mask[row]].tolist(), ids[counted].tolist()
        expected = slow(prompt + completion)[len(prompt) - 1 : -1][range(len(completion)), completion]
        for mine in (scored[row], rollout.logprobs[row]):
            np.testing.assert_allclose(mine[counted].numpy(), expected, atol=2e-5)


def test_every_combination_is_another_model() -> None:
    sizes = {
        (kind, tied, padded): sum(value.numel() for value in build(kind, tied=tied, padded=padded).parameters())
        for kind, tied, padded in itertools.product(KINDS, (False, True), (False, True))
    }
    for kind in KINDS:
        assert len({sizes[kind, tied, padded] for tied in (False, True) for padded in (False, True)}) == 4
