"""Whole folders load as transformers loads them, bit for bit: architectures, shards, ties, some of the layers."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from textrl_env import InputError
from textrl_env.agents import train_tokenizer
from textrl_env.lm import check_fits, load_config, load_model, load_tokenizer
from textrl_env.lm.loading import load_into
from textrl_env.reward_models import RewardModel, load_reward_model
from textrl_env.training import seeded

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 4}
WINDOWS = GROUPED | {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
GPT = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64}
EXPERTS = {"num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", GPT),
    "llama": ("LlamaConfig", GROUPED),
    "mistral": ("MistralConfig", GROUPED),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen2 window": ("Qwen2Config", WINDOWS | {"use_sliding_window": True}),
    "qwen3": ("Qwen3Config", GROUPED),
    "gemma": ("GemmaConfig", GROUPED),
    "gemma2": ("Gemma2Config", WINDOWS | {"query_pre_attn_scalar": 4}),
    "gemma3": ("Gemma3TextConfig", WINDOWS | {"query_pre_attn_scalar": 4}),
    "phi": ("PhiConfig", SIZES),
    "phi3": ("Phi3Config", GROUPED),
    "gpt_neox": ("GPTNeoXConfig", SIZES),
    "gptj": ("GPTJConfig", GPT | {"rotary_dim": 4}),
    "gpt_neo": (
        "GPTNeoConfig",
        {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    ),
    "opt": ("OPTConfig", SIZES | {"ffn_dim": 24, "word_embed_proj_dim": 8}),
    "bloom": ("BloomConfig", {"hidden_size": 16, "n_layer": 3, "n_head": 2}),
    "mpt": ("MptConfig", {"d_model": 16, "n_layers": 3, "n_heads": 2, "max_seq_len": 64}),
    "falcon": ("FalconConfig", SIZES),
    "olmo2": ("Olmo2Config", GROUPED),
    "smollm3": ("SmolLM3Config", GROUPED),
    "mixtral": ("MixtralConfig", GROUPED | EXPERTS),
    "qwen3_moe": ("Qwen3MoeConfig", GROUPED | EXPERTS),
    "mamba": ("MambaConfig", {"hidden_size": 16, "num_hidden_layers": 3, "state_size": 4}),
    "lfm2": ("Lfm2Config", GROUPED | {"layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 3}),
}
CLASSIFIERS = [kind for kind in KINDS if kind not in ("mamba", "lfm2", "olmo2")]


def write(kind: str, folder: Path, **options: Any) -> Any:
    """Writes a model of random weights with a tokenizer."""
    name, sizes = KINDS[kind]
    tokenizer = train_tokenizer(["hello world"], vocab_size=300)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, name)(vocab_size=len(tokenizer), **ids, **sizes)
    with seeded(0):
        model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return model


def same_weights(first: Any, second: Any) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and x.dtype == y.dtype and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_an_architecture_loads_as_transformers_loads_it(kind: str, tmp_path: Path) -> None:
    write(kind, tmp_path)
    ours, theirs = load_model(AutoModelForCausalLM, tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(ours) is type(theirs) and same_weights(ours, theirs)
    assert ours.config.to_dict() == theirs.config.to_dict()
    assert ours.generation_config.to_dict() == theirs.generation_config.to_dict()
    assert ours.config._attn_implementation == theirs.config._attn_implementation and not ours.training
    assert load_config(tmp_path).to_dict() == transformers.AutoConfig.from_pretrained(tmp_path).to_dict()
    half = load_model(AutoModelForCausalLM, tmp_path, dtype=torch.bfloat16)
    assert same_weights(half, AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_reward_model_starts_from_it_whole_or_with_its_first_layers(kind: str, tmp_path: Path) -> None:
    write(kind, tmp_path / "lm")
    whole = RewardModel.from_pretrained(tmp_path / "lm", seed=5)
    with seeded(5), warnings.catch_warnings():
        theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "lm", num_labels=1)
    assert same_weights(whole.model, theirs)
    for name, reward_model in (
        ("whole", whole),
        ("part", RewardModel.from_pretrained(tmp_path / "lm", layers=1, seed=5)),
    ):
        reward_model.save_pretrained(tmp_path / name)
        assert same_weights(load_reward_model(tmp_path / name).model, reward_model.model)
    trunk = reward_model.model.base_model
    assert sum(value.numel() for value in trunk.parameters()) < sum(
        v.numel() for v in whole.model.base_model.parameters()
    )
    with pytest.raises(InputError, match=r"has no .*head"):
        load_reward_model(tmp_path / "lm")


def test_shards_are_put_together(tmp_path: Path) -> None:
    model = write("llama", tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert same_weights(load_model(AutoModelForCausalLM, tmp_path), model)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    (tmp_path / sorted(set(index["weight_map"].values()))[1]).unlink()
    with pytest.raises(InputError, match=r"model-00002-of-\d+.safetensors: not there; the folder is incomplete"):
        load_model(AutoModelForCausalLM, tmp_path)


def test_tied_weights_may_be_missing_and_untied_ones_may_not(tmp_path: Path) -> None:
    write("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"has no lm_head.weight, the head"):
        load_model(AutoModelForCausalLM, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    model = load_model(AutoModelForCausalLM, tmp_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_keys_that_transformers_ignores_do_no_harm(tmp_path: Path) -> None:
    """Old GPT-2 files hold masks, and their names lack the prefix; old Llama files hold rotary frequencies."""
    for kind, extra in (("gpt2", "h.0.attn.bias"), ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq")):
        model = write(kind, tmp_path / kind)
        weights = load_file(tmp_path / kind / "model.safetensors")
        weights = {name.removeprefix("transformer."): value for name, value in weights.items()}
        masks = torch.ones(1, 1, 4, 4, dtype=torch.bool) if kind == "gpt2" else torch.ones(2)
        save_file(weights | {extra: masks}, tmp_path / kind / "model.safetensors", metadata={"format": "pt"})
        assert same_weights(load_model(AutoModelForCausalLM, tmp_path / kind), model)


def test_weights_in_half_precision_and_without_a_type_in_the_configuration(tmp_path: Path) -> None:
    model = write("llama", tmp_path)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert load_model(AutoModelForCausalLM, tmp_path).dtype is torch.bfloat16
    (tmp_path / "config.json").write_text(
        json.dumps({name: value for name, value in config.items() if name != "dtype"})
    )
    assert load_model(AutoModelForCausalLM, tmp_path).dtype is torch.bfloat16
    assert load_model(AutoModelForCausalLM, tmp_path, dtype=torch.float32).dtype is torch.float32


def test_no_global_generator_is_touched(tmp_path: Path) -> None:
    write("llama", tmp_path)
    state = torch.get_rng_state()
    load_model(AutoModelForCausalLM, tmp_path)
    with pytest.raises(InputError):
        load_reward_model(tmp_path)
    RewardModel.from_pretrained(tmp_path, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_that_are_not_there_are_named(tmp_path: Path) -> None:
    write("llama", tmp_path)
    for layers in (0, 4, -1):
        with pytest.raises(InputError, match=rf"layers must be in \[1, 3\], .*got {layers}"):
            RewardModel.from_pretrained(tmp_path, layers=layers, seed=0)


def test_a_model_of_another_size_takes_no_weights(tmp_path: Path) -> None:
    model = write("llama", tmp_path / "a")
    write("mistral", tmp_path / "b")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    small = AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(**GROUPED | {"vocab_size": 40, "hidden_size": 32})
    )
    small.save_pretrained(tmp_path / "c")
    with pytest.raises(InputError, match=r"another architecture .*embed_tokens.weight is \(40, 32\)"):
        load_into(model, AutoModelForCausalLM, tmp_path / "c")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2", "bloom"])
def test_a_plain_tokenizer_stays_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    """A class of the model's architecture would add tokens of its own, beyond the embeddings."""
    model = write(kind, tmp_path)
    tokenizer, original = load_tokenizer(tmp_path), train_tokenizer(["hello world"], vocab_size=300)
    assert tokenizer.get_vocab() == original.get_vocab()
    assert tokenizer("hello <eos>")["input_ids"] == original("hello <eos>")["input_ids"]
    check_fits(model, tokenizer)
    assert AutoTokenizer.from_pretrained(tmp_path)("hello")["input_ids"][-1] == tokenizer("hello")["input_ids"][-1]


def test_a_live_model_must_have_an_embedding_for_every_token(tmp_path: Path) -> None:
    model, tokenizer = write("llama", tmp_path), load_tokenizer(tmp_path)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool>"]})
    with pytest.raises(InputError, match=r"the model.* knows 259 tokens, the tokenizer has 260; .*resize"):
        check_fits(model, tokenizer)
    model.resize_token_embeddings(260)
    check_fits(model, tokenizer)
