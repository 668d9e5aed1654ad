"""Folders that a stranger made, or a crash left: changes to a whole folder of a model, and what is said of each."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from textrl_env.agents import small_llama, train_tokenizer
from textrl_env.reward_models import RewardModel

Change = Callable[[Path, Path], None]
EVIL = "open({canary!r}, 'w').close()\nclass Evil:\n    pass\n"


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def edit(name: str, **values: Any) -> Change:
    """Changes entries of a JSON file; None removes one."""

    def change(folder: Path, canary: Path) -> None:
        content = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        content = {key: value for key, value in (content | values).items() if value is not None}
        (folder / name).write_text(json.dumps(content))

    return change


def write(name: str, content: str | bytes) -> Change:
    def change(folder: Path, canary: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def remove(*names: str) -> Change:
    return lambda folder, canary: [(folder / name).unlink() for name in names]  # type: ignore[return-value]


def both(*changes: Change) -> Change:
    def change(folder: Path, canary: Path) -> None:
        for part in changes:
            part(folder, canary)

    return change


def tensors(edit_tensors: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Changes the tensors of the weights' file."""

    def change(folder: Path, canary: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        edit_tensors(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def cut(name: str, share: float) -> Change:
    def change(folder: Path, canary: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return change


def code(folder: Path, canary: Path) -> None:
    """Puts Python files there, under all names that transformers could look for."""
    for name in ("evil.py", "modeling_evil.py", "custom_generate/generate.py", "configuration_evil.py", "__init__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(EVIL.format(canary=str(canary)))


def pickled(name: str) -> Change:
    def change(folder: Path, canary: Path) -> None:
        with (folder / name).open("wb") as file:
            pickle.dump(Trap(canary), file)

    return change


def pipe(name: str) -> Change:
    def change(folder: Path, canary: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def shards(names: dict[str, str]) -> Change:
    """Splits the weights in two files with an index, which then names other ones."""

    def change(folder: Path, canary: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        places = {}
        for index, name in enumerate(weights):
            places[name] = f"part-{index % 2}.safetensors"
        for part in set(places.values()):
            save_file({name: weights[name] for name in weights if places[name] == part}, folder / part)
        places = {name: names.get(place, place) for name, place in places.items()}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    return change


def resized(name: str, *shape: int) -> Change:
    return tensors(lambda weights: weights.update({name: torch.zeros(shape)}))


def spoiled(name: str, value: float) -> Change:
    return tensors(lambda weights: weights[name].view(-1).__setitem__(-1, value))


def tokens(edit_tokens: Callable[[dict[str, Any]], Any]) -> Change:
    def change(folder: Path, canary: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        edit_tokens(content)
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return change


AUTO_MAP = dict.fromkeys(
    ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"), "evil.Evil"
)
CLASS_MAP = {"AutoTokenizer": ["evil.Evil", "evil.Evil"], "AutoProcessor": "evil.Evil"}
DEEP = "[" * 100_000 + "]" * 100_000
LAYER = "model.layers.0.mlp.up_proj.weight"

# Each is refused by whoever loads a model with its tokenizer; the text is what the message says beside the folder.
HOSTILE: dict[str, tuple[Change, str]] = {
    "code of its own": (both(code, edit("config.json", model_type="evil", auto_map=AUTO_MAP)), "code of its own"),
    "code of a hub's model": (
        both(code, edit("config.json", model_type="evil", auto_map={"AutoConfig": "someone/evil--evil.Evil"})),
        "code of its own",
    ),
    "a tokenizer's code": (
        both(code, edit("tokenizer_config.json", tokenizer_class="Evil", auto_map=CLASS_MAP), remove("tokenizer.json")),
        "code of its own",
    ),
    "pickled weights": (both(remove("model.safetensors"), pickled("pytorch_model.bin")), "must be in safetensors"),
    "pickled shards": (
        both(shards({"part-1.safetensors": "pytorch_model.bin"}), pickled("pytorch_model.bin")),
        "must be in safetensors",
    ),
    "pickled weights by name": (
        both(pickled("adapter_model.bin"), edit("config.json", transformers_weights="adapter_model.bin")),
        "must be in safetensors",
    ),
    "a pickle called safetensors": (pickled("model.safetensors"), "cut off, or no safetensors"),
    "a distributed checkpoint": (
        both(remove("model.safetensors"), pickled(".metadata"), write("__0_0.distcp", b"x")),
        "no weights here",
    ),
    "an adapter": (
        both(
            edit("adapter_config.json", peft_type="LORA", base_model_name_or_path="someone/base", auto_mapping={}),
            pickled("adapter_model.bin"),
        ),
        "holds an adapter",
    ),
    "an adapter alone": (
        both(
            edit("adapter_config.json", peft_type="LORA", base_model_name_or_path="someone/base"),
            pickled("adapter_model.bin"),
            remove("config.json", "model.safetensors"),
        ),
        "no model here",
    ),
    "no weights": (remove("model.safetensors"), "no weights here"),
    "no configuration": (remove("config.json"), "no config.json"),
    "no tokenizer": (remove("tokenizer.json", "tokenizer_config.json"), "no tokenizer"),
    "only the tokenizer's settings": (remove("tokenizer.json"), "no tokenizer"),
    "weights cut off": (cut("model.safetensors", 0.7), "cut off, or no safetensors"),
    "weights cut in the header": (cut("model.safetensors", 0.01), "cut off, or no safetensors"),
    "empty weights": (write("model.safetensors", b""), "cut off, or no safetensors"),
    "weights of a huge header": (write("model.safetensors", b"\xff" * 64), "cut off, or no safetensors"),
    "a shard that is not there": (
        shards({"part-1.safetensors": "part-9.safetensors"}),
        "part-9.safetensors: not there",
    ),
    "a shard outside": (shards({"part-1.safetensors": "../part-1.safetensors"}), "outside of the folder"),
    "a shard by an absolute path": (shards({"part-1.safetensors": "/etc/passwd.safetensors"}), "outside of the folder"),
    "an index of nothing": (
        both(remove("model.safetensors"), write("model.safetensors.index.json", "{}")),
        "no weight_map",
    ),
    "weights' name outside": (edit("config.json", transformers_weights="../x.safetensors"), "outside of the folder"),
    "config not JSON": (write("config.json", "{"), "config.json: cannot be read"),
    "config a list": (write("config.json", "[]"), "config.json: cannot be read"),
    "config of depth": (write("config.json", DEEP), "config.json: cannot be read"),
    "config of depth inside": (write("config.json", '{"a":' * 900 + "1" + "}" * 900), "config.json"),
    "config not UTF-8": (write("config.json", b'{"model_type": "\xff\xfe"}'), "config.json: cannot be read"),
    "config a pipe": (pipe("config.json"), "neither a file nor a folder"),
    "no model type": (edit("config.json", model_type=None), "model_type None"),
    "model type a number": (edit("config.json", model_type=5), "model_type 5"),
    "unknown model type": (edit("config.json", model_type="gpt17"), "model_type 'gpt17'"),
    "no causal LM": (edit("config.json", model_type="vit"), "vit has no"),
    "vocabulary as text": (edit("config.json", vocab_size="many"), "config.json"),
    "negative width": (edit("config.json", hidden_size=-16), "config.json"),
    "no heads": (edit("config.json", num_attention_heads=0), "config.json"),
    "heads that do not divide": (edit("config.json", num_attention_heads=3, num_key_value_heads=3), "config.json"),
    "key heads that do not divide": (
        both(
            edit("config.json", num_attention_heads=4, num_key_value_heads=3, head_dim=4),
            resized("model.layers.0.self_attn.k_proj.weight", 12, 16),
            resized("model.layers.0.self_attn.v_proj.weight", 12, 16),
            resized("model.layers.1.self_attn.k_proj.weight", 12, 16),
            resized("model.layers.1.self_attn.v_proj.weight", 12, 16),
        ),
        "cannot read a text",
    ),
    "huge width": (edit("config.json", hidden_size=10**9), "config.json"),
    "huge vocabulary": (edit("config.json", vocab_size=10**12), "config.json"),
    "huge number of layers": (edit("config.json", num_hidden_layers=10**9), "more than any model has"),
    "impossible activation": (edit("config.json", hidden_act="evil"), "config.json"),
    "impossible rope": (edit("config.json", rope_parameters={"rope_type": "evil"}), "config.json"),
    "type of code": (edit("config.json", dtype="load"), "dtype must be one of"),
    "quantised": (edit("config.json", quantization_config={"quant_method": "bitsandbytes"}), "quantised"),
    "more layers than weights": (edit("config.json", num_hidden_layers=3), "model.layers.2."),
    "fewer layers than weights": (edit("config.json", num_hidden_layers=1), "model.layers.1."),
    "another width": (edit("config.json", intermediate_size=24), "has shape"),
    "another vocabulary": (edit("config.json", vocab_size=200), "has shape"),
    "another architecture": (edit("config.json", model_type="gpt2"), ""),
    "a weight missing": (tensors(lambda weights: weights.pop(LAYER)), LAYER),
    "a weight too many": (tensors(lambda weights: weights.update(more=torch.zeros(2))), "more has no place"),
    "a weight of another shape": (resized(LAYER, 3, 3), "has shape (3, 3)"),
    "NaN": (spoiled(LAYER, float("nan")), f"{LAYER} holds NaN or Inf"),
    "Inf": (spoiled("model.norm.weight", float("-inf")), "model.norm.weight holds NaN or Inf"),
    "weights that overflow": (
        tensors(lambda weights: [value.fill_(3e38) for name, value in weights.items() if "mlp" in name]),
        "the model answers NaN or Inf",
    ),
    "float8": (
        tensors(lambda weights: weights.update({LAYER: weights[LAYER].to(torch.float8_e4m3fn)})),
        "a quantised type",
    ),
    "int8": (tensors(lambda weights: weights.update({LAYER: weights[LAYER].to(torch.int8)})), "a quantised type"),
    "settings of sampling not JSON": (write("generation_config.json", "{"), "generation_config.json: cannot be read"),
    "settings of sampling a list": (write("generation_config.json", "[1]"), "generation_config.json: cannot be read"),
    "tokenizer not JSON": (write("tokenizer.json", "{"), "tokenizer.json: cannot be read"),
    "tokenizer of another kind": (write("tokenizer.json", '{"a": 1}'), "no tokenizer"),
    "tokenizer a list": (write("tokenizer.json", "[]"), "tokenizer.json"),
    "tokenizer cut off": (cut("tokenizer.json", 0.5), "tokenizer.json: cannot be read"),
    "tokenizer of depth": (write("tokenizer.json", DEEP), "tokenizer.json: cannot be read"),
    "tokenizer not UTF-8": (write("tokenizer.json", b"\xff\xfe"), "tokenizer.json: cannot be read"),
    "tokenizer's settings not JSON": (write("tokenizer_config.json", "{"), "tokenizer_config.json: cannot be read"),
    "tokenizer's settings a list": (write("tokenizer_config.json", "[]"), "tokenizer_config.json: cannot be read"),
    "tokenizer's class a number": (edit("tokenizer_config.json", tokenizer_class=5), ""),
    "special tokens a list": (write("special_tokens_map.json", "[]"), "special_tokens_map.json: cannot be read"),
    "a tokenizer in GGUF": (edit("tokenizer_config.json", gguf_file="x.gguf"), "gguf_file"),
    "no end and no pad": (edit("tokenizer_config.json", eos_token=None, pad_token=None), "neither a pad nor an eos"),
    "more tokens than embeddings": (
        edit("tokenizer_config.json", extra_special_tokens=[f"<tool {index}>" for index in range(90)]),
        "the tokenizer has",
    ),
    "ids with holes": (tokens(lambda content: content["model"]["vocab"].update({"hole": 290})), "ids up to 290"),
    "ids beyond the vocabulary": (
        tokens(lambda content: content["post_processor"]["special_tokens"]["<bos>"].update(ids=[10**6])),
        "gives id 1000000",
    ),
    "a chat template that is none": (edit("tokenizer_config.json", chat_template="{% if %}"), "no Jinja"),
    "a chat template of numbers": (edit("tokenizer_config.json", chat_template=5), "chat_template"),
}


HOSTILE_REWARD_MODELS: dict[str, tuple[Change, str]] = {
    "two labels": (
        both(resized("score.weight", 2, 16), edit("config.json", id2label={"0": "bad", "1": "good"})),
        "a classifier with one label",
    ),
    "no head": (tensors(lambda weights: weights.pop("score.weight")), "has no score.weight"),
    "head with NaN": (spoiled("score.weight", float("nan")), "score.weight holds NaN or Inf"),
    "head of text": (edit("config.json", score_offset="much"), "score_offset must be a number"),
    "offset Inf": (edit("config.json", score_offset=float("inf")), "score_offset must be finite"),
    "no unit": (edit("config.json", score_unit=0), "score_unit must be above 0"),
    "members cut off": (write("members.safetensors", b"abc"), "members.safetensors: is cut off"),
    "members of another kind": (
        lambda folder, canary: save_file({"weight": torch.zeros(3)}, folder / "members.safetensors"),
        "members.safetensors: expected weight (K, 16)",
    ),
    "members with NaN": (
        lambda folder, canary: save_file(
            {"weight": torch.full((3, 16), torch.nan), "bias": torch.zeros(3)}, folder / "members.safetensors"
        ),
        "members.safetensors: weight holds NaN",
    ),
    "pickled members": (pickled("members.safetensors"), "members.safetensors: is cut off"),
}

# They load, and what could be run in them does not.
HARMLESS: dict[str, Change] = {
    "code beside an architecture that transformers knows": both(code, edit("config.json", auto_map=AUTO_MAP)),
    "code to sample with": both(code, edit("generation_config.json", custom_generate="custom_generate")),
    "a tokenizer's code beside its class": both(
        code, edit("tokenizer_config.json", auto_map={"AutoProcessor": "evil.Evil"})
    ),
    "pickled weights beside safetensors": both(
        pickled("pytorch_model.bin"), pickled("optimizer.pt"), pickled("members.pkl")
    ),
    "a distributed checkpoint beside": both(pickled(".metadata"), write("__0_0.distcp", b"x")),
    "a kernel of the hub": edit(
        "config.json", attn_implementation="someone/kernel", _attn_implementation="someone/kernel"
    ),
    "shards": shards({}),
    "tuples": edit("config.json", return_dict=False, torchscript=True),
}


def link_outside(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "blob")
    (folder / "model.safetensors").symlink_to(folder.parent / "blob")


HARMLESS["links, as the hub's cache has"] = link_outside


def write_clean(base: Path) -> dict[str, Path]:
    """Writes whole folders: a language model with room for more tokens (`lm`), and a reward model on it (`rm`)."""
    tokenizer = train_tokenizer(["hello world"], vocab_size=300)
    model = small_llama(tokenizer, hidden_size=16, context=512, seed=0)
    model.resize_token_embeddings(320)
    model.save_pretrained(base / "lm")
    tokenizer.save_pretrained(base / "lm")
    RewardModel.from_pretrained(base / "lm", seed=0).save_pretrained(base / "rm")
    return {"lm": base / "lm", "rm": base / "rm"}
