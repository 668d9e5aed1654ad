"""Models of every kind that transformers knows: what is trained, sampled and scored is what each text alone gives.

Kinds differ in how they know positions (tables, rotations, biases, the order of reading), in how far back they see, and
in what they keep from token to token (keys and values, states, both). The reference is the model's own forward of one
text without padding and cache.
"""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from textrl_env import InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import (
    PPO,
    ActorCriticLM,
    Batch,
    DPOConfig,
    KTOConfig,
    SFTConfig,
    collect,
    sample_completions,
    train_dpo,
    train_kto,
    train_sft,
)
from textrl_env.lm.forward import CachedDecoder
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import Preference, RewardModel, RewardModelConfig, train_reward_model
from textrl_env.training import seeded
from textrl_env.worlds import LetterTokenizer

V = 8
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
# A window shorter than the texts, in one of the two layers, so that it matters.
WINDOWS = GROUPED | {"head_dim": 4, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
STATES = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "expand": 2, "conv_kernel": 3}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "llama": ("LlamaConfig", GROUPED),
    "llama4": ("Llama4TextConfig", GROUPED | {"head_dim": 4, "attention_chunk_size": 4, "num_local_experts": 2}),
    "smollm3": ("SmolLM3Config", GROUPED),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen2 window": ("Qwen2Config", WINDOWS | {"use_sliding_window": True, "max_window_layers": 0}),
    "qwen3": ("Qwen3Config", GROUPED | {"head_dim": 4}),
    "mistral": ("MistralConfig", GROUPED | {"sliding_window": 4}),
    "gemma2": ("Gemma2Config", WINDOWS | {"query_pre_attn_scalar": 4}),
    "gemma3": ("Gemma3TextConfig", WINDOWS | {"query_pre_attn_scalar": 4}),
    "phi": ("PhiConfig", SIZES),
    "gpt_neox": ("GPTNeoXConfig", SIZES),
    "opt": ("OPTConfig", SIZES | {"ffn_dim": 24, "word_embed_proj_dim": 8}),
    "bloom": ("BloomConfig", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "mpt": ("MptConfig", {"d_model": 16, "n_layers": 2, "n_heads": 2, "max_seq_len": 64}),
    "falcon": ("FalconConfig", SIZES),
    "falcon alibi": ("FalconConfig", SIZES | {"alibi": True, "new_decoder_architecture": False}),
    "bart": ("BartConfig", {"d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 24}),
    "openai-gpt": ("OpenAIGPTConfig", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "mamba": ("MambaConfig", STATES),
    "mamba2": ("Mamba2Config", STATES | {"num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4}),
    "rwkv": ("RwkvConfig", {"hidden_size": 16, "num_hidden_layers": 2, "context_length": 64}),
    "lfm2": ("Lfm2Config", GROUPED | {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3}),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        GROUPED | {"head_dim": 4, "lru_width": 16, "attention_window_size": 4, "num_hidden_layers": 3},
    ),
    "jamba": (
        "JambaConfig",
        GROUPED
        | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2, "mamba_d_state": 4, "mamba_dt_rank": 4}
        | {"use_mamba_kernels": False},
    ),
}
TOLERANCE = 5e-5
ROWS = [
    {"prompt": "abcdefg", "completion": "abc", "chosen": "abc", "rejected": "gfedcba", "label": True},
    {"prompt": "f", "completion": "ggggabcde", "chosen": "ggggabcde", "rejected": "a", "label": False},
    {"prompt": "gab", "completion": "d", "chosen": "d", "rejected": "efg", "label": True},
]


def build(kind: str, auto: Any = AutoModelForCausalLM) -> Any:
    """A model of a kind with weights so large that every position and every token shows in the logits."""
    name, options = KINDS[kind]
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = getattr(transformers, name)(vocab_size=V, tie_word_embeddings=False, num_labels=1, **ids, **options)
    with seeded(0):
        model = auto.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.0 / parameter.shape[-1] ** 0.5)
    return model.eval()


def logits_alone(model: Any, ids: list[int]) -> torch.Tensor:
    """Next-token logits of one text, without padding and without a cache: (L, V)."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :, :V]  # type: ignore[no-any-return]


def nll_alone(model: Any, ids: list[int], n_prompt: int) -> float:
    """Minus the log-probability of a text's tokens after the prompt's, summed."""
    logits = logits_alone(model, ids)[n_prompt - 1 : -1].double()
    return float(cross_entropy(logits, torch.tensor(ids[n_prompt:]), reduction="sum"))


def moved(model: Any, before: dict[str, torch.Tensor]) -> float:
    """The share of the parameters that are no longer what they were; all are numbers."""
    after = dict(model.named_parameters())
    assert all(value.isfinite().all() for value in after.values())
    return float(np.mean([not torch.equal(value, before[name]) for name, value in after.items()]))


def parameters_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_completions_of_a_ragged_batch_are_those_of_each_prompt_alone(kind: str) -> None:
    model, tokenizer = build(kind), LetterTokenizer(V)
    prompts = ["abcdefg", "f", "gab", "cdcdcdcdcdcd"]
    groups = sample_completions(model, tokenizer, prompts, max_new_tokens=9, temperature=0, description=None)
    for prompt, (completion,) in zip(prompts, groups, strict=True):
        ids = tokenizer.encode(prompt)
        for token in completion.ids:
            assert int(logits_alone(model, ids)[-1].argmax()) == token
            ids = [*ids, token]
        assert len(completion.ids) == 9 or completion.ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("kind", KINDS)
def test_slots_that_start_anew_beside_running_ones_are_read_from_their_own_beginning(kind: str) -> None:
    model, rng = build(kind), np.random.default_rng(0)
    decoder, rows = CachedDecoder(model), [[1, 2, 3, 4, 5, 6, 7], [3], [2, 2, 5]]
    for step in range(14):
        ids, mask = np.zeros((3, 24), dtype=np.int64), np.zeros((3, 24), dtype=np.int8)
        for row, tokens in enumerate(rows):
            ids[row, -len(tokens) :], mask[row, -len(tokens) :] = tokens, 1
        logits = decoder.next_logits(ids, mask, np.ones(3, dtype=bool))
        for row, tokens in enumerate(rows):
            torch.testing.assert_close(logits[row, :V], logits_alone(model, tokens)[-1], rtol=0, atol=TOLERANCE)
        rows = [[*tokens, int(rng.integers(V))] for tokens in rows]
        if step % 3 == 2:
            rows[step % 2] = rng.integers(V, size=1 + step).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_sft_and_dpo_and_kto_read_each_row_as_it_is_alone(kind: str) -> None:
    tokenizer, end = LetterTokenizer(V), [0]
    texts = [(tokenizer.encode(row["prompt"]), [*tokenizer.encode(row["completion"]), *end]) for row in ROWS]
    model = build(kind)
    before = parameters_of(model)
    loss = train_sft(model, tokenizer, ROWS, SFTConfig(n_steps=2, batch_size=3, learning_rate=1e-3), heldout=ROWS)
    model.eval()
    total = sum(nll_alone(model, prompt + completion, len(prompt)) for prompt, completion in texts)
    assert loss == pytest.approx(total / sum(len(completion) for _, completion in texts), abs=1e-4)
    assert moved(model, before) > 0.5

    reference = build(kind)
    policy = copy.deepcopy(reference)
    before = parameters_of(policy)
    metrics = train_dpo(policy, tokenizer, ROWS, DPOConfig(n_steps=1, batch_size=3), reference=reference)
    # The policy begins at the reference.
    assert metrics["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert moved(policy, before) > 0.5
    metrics = train_dpo(policy, tokenizer, ROWS, DPOConfig(n_steps=1, batch_size=3), reference=reference, heldout=ROWS)

    def log_ratio(prompt: str, completion: str) -> float:
        ids = [*tokenizer.encode(prompt), *tokenizer.encode(completion), *end]
        return nll_alone(reference, ids, len(prompt)) - nll_alone(policy, ids, len(prompt))

    policy.eval()
    margins = [log_ratio(row["prompt"], row["chosen"]) - log_ratio(row["prompt"], row["rejected"]) for row in ROWS]
    assert metrics["rewards/margins"] == pytest.approx(0.1 * np.mean(margins), abs=1e-4)
    train_kto(policy, tokenizer, ROWS, KTOConfig(n_steps=1, batch_size=3), reference=reference)
    assert all(value.isfinite().all() for value in policy.parameters())


@pytest.mark.parametrize("critic", ["separate", "shared"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_ppo_update_scores_what_was_sampled(kind: str, critic: Any) -> None:
    model, tokenizer = build(kind), LetterTokenizer(V)
    env = TextGenVectorEnv(
        ["abcdefg", "f", "gab", "cd"],
        lambda prompts, completions: [text.count("a") - 0.3 * len(text) for text in completions],
        tokenizer,
        num_envs=3,
        autoreset_mode="Disabled",
        max_new_tokens=7,
        kl=KLShaping(0.1, "sampled"),
        reference=FrozenReference(model, vocab_size=V),
    )
    ppo = PPO(ActorCriticLM(model, vocab_size=V, critic=critic), env, n_episodes=6, n_epochs=1, seed=1)
    rollout = collect(ppo.env, ppo.policy, 6)
    assert rollout is not None
    assert float(rollout.kl.abs().max()) < 1e-4
    for row, counted in enumerate(rollout.completion_mask):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        completion = rollout.completion_ids[row][counted].tolist()
        expected = -nll_alone(model, prompt + completion, len(prompt))
        assert float(rollout.logprobs[row][counted].sum()) == pytest.approx(expected, abs=1e-4)
    with torch.no_grad():
        batch = Batch(rollout, ppo.advantages(rollout), ppo.weights(rollout.completion_mask))
        _, statistics = ppo.loss(batch)
    assert float(statistics["ratio"]) == pytest.approx(1, abs=1e-5)
    before = parameters_of(ppo.policy)
    ppo.learn(total_updates=1)
    assert moved(ppo.policy, before) > 0.3  # BART carries attention to an encoder that it does not have.
    assert all(np.isfinite(value) for value in ppo.state.last_row.values())


CLASSIFIERS = [
    kind
    for kind, (name, _) in KINDS.items()
    if getattr(transformers, name) in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING and kind != "bart"
]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_reward_model_scores_each_text_as_it_is_alone(kind: str) -> None:
    reward_model = RewardModel(build(kind, AutoModelForSequenceClassification), LetterTokenizer(V))
    before = parameters_of(reward_model.model)
    pairs = [Preference(row["prompt"], (row["chosen"], row["rejected"])) for row in ROWS]
    curve = train_reward_model(reward_model, pairs, RewardModelConfig(n_epochs=1, batch_size=3, learning_rate=1e-3))
    assert math.isfinite(curve[0].loss) and moved(reward_model.model, before) > 0.5
    prompts, completions = [row["prompt"] for row in ROWS], [row["completion"] for row in ROWS]
    scores = reward_model.score(prompts, completions)
    for score, prompt, completion in zip(scores, prompts, completions, strict=True):
        ids = torch.tensor([reward_model.encode(prompt, completion)])
        with torch.no_grad():
            assert float(reward_model.model(input_ids=ids, use_cache=False).logits) == pytest.approx(score, abs=1e-4)


def test_most_kinds_have_reward_models() -> None:
    assert len(CLASSIFIERS) >= 15 and {"bloom", "mpt", "opt", "falcon", "gemma2", "gemma3"} < set(CLASSIFIERS)


def encoder_decoder() -> Any:
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    return transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=V, **sizes)).eval()


def bidirectional() -> Any:
    return transformers.BertLMHeadModel(transformers.BertConfig(vocab_size=V, **SIZES)).eval()


def headless() -> Any:
    return build("llama").model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (encoder_decoder, "T5ForConditionalGeneration is an encoder with a decoder"),
        (bidirectional, "BertLMHeadModel reads the tokens to the right"),
        (headless, "LlamaModel has no head that predicts tokens"),
    ],
)
def test_what_predicts_no_next_token_is_refused_before_anything_runs(model: Any, message: str) -> None:
    refused, tokenizer = model(), LetterTokenizer(V)
    before = parameters_of(refused)
    for attempt in (
        lambda: ActorCriticLM(refused, vocab_size=V),
        lambda: FrozenReference(refused, vocab_size=V),
        lambda: train_sft(refused, tokenizer, ROWS, SFTConfig(n_steps=1)),
        lambda: train_dpo(refused, tokenizer, ROWS, DPOConfig(n_steps=1)),
        lambda: train_kto(refused, tokenizer, ROWS, KTOConfig(n_steps=1)),
        lambda: sample_completions(refused, tokenizer, ["ab"], max_new_tokens=2, description=None),
    ):
        with pytest.raises(InputError, match=message):
            attempt()
    assert moved(refused, before) == 0


def test_a_decoder_of_berts_kind_is_causal_once_its_configuration_says_so() -> None:
    config = transformers.RobertaConfig(vocab_size=V, is_decoder=True, pad_token_id=0, **SIZES)
    with seeded(0):
        model = transformers.RobertaForCausalLM(config).eval()
    tokenizer = LetterTokenizer(V)
    (completion,) = sample_completions(
        model, tokenizer, ["abc", "bcdefb"], max_new_tokens=4, temperature=0, description=None
    )[0]
    ids = tokenizer.encode("abc")
    for token in completion.ids:
        assert int(logits_alone(model, ids)[-1].argmax()) == token
        ids = [*ids, token]
