"""The conversion's bookkeeping on a fake wheel, and the real conversion on a tiny GGUF file made here."""

import importlib.util
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from data import smollm2
from data.pip_archive import PinnedArchive, sha256_of
from data.smollm2 import smollm2_path

from textrl_env.errors import InputError

needs_gguf = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("gguf", "accelerate")), reason="needs gguf and accelerate"
)
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WIDTH, HEADS, LAYERS = 32, 4, 2


def pin(cache: Path, gguf_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a wheel around the GGUF file into the cache, as if pip had fetched it, and pin it."""
    wheel = cache / "archives" / smollm2.ARCHIVE.filename
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.write(gguf_file, smollm2._GGUF_MEMBER)
    monkeypatch.setattr(smollm2, "ARCHIVE", PinnedArchive("x", "1", wheel.name, sha256_of(wheel), 0.1))


def tiny_gguf(path: Path, *, pad: int = 2) -> Path:
    """A Llama with 2 layers whose pad token is its EOS token, and byte-level BPE without merges."""
    import gguf

    alphabet = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))] + ["Ġ", "Ċ"]
    tokens = [*SPECIAL, *alphabet, "th"]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["t h"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(pad)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.{name}": (WIDTH, WIDTH) for name in ("attn_q", "attn_output")}
        shapes |= {f"blk.{i}.{name}": (WIDTH // 2, WIDTH) for name in ("attn_k", "attn_v")}
        shapes |= {f"blk.{i}.{name}": (2 * WIDTH, WIDTH) for name in ("ffn_gate", "ffn_up")}
        shapes |= {f"blk.{i}.ffn_down": (WIDTH, 2 * WIDTH)}
        shapes |= {f"blk.{i}.{name}": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
    for name, shape in shapes.items():
        weight = rng.normal(size=shape).astype(np.float32)
        if len(shape) == 2 and name != "token_embd":
            packed = gguf.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@needs_gguf
def test_real_conversion_of_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pin(tmp_path, tiny_gguf(tmp_path / "tiny.gguf"), monkeypatch)
    monkeypatch.setattr(smollm2, "_VOCABULARY", 3 + 190 + 1)
    state = torch.random.get_rng_state()
    folder = smollm2_path(cache=tmp_path)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, len(tokenizer)) == (2, 2, 194)
    assert tokenizer.chat_template == TEMPLATE and tokenizer.model_max_length == 8192
    assert tokenizer.decode(tokenizer("the path!")["input_ids"]) == "the path!"
    for dtype in (torch.float32, torch.bfloat16):
        out = model.to(dtype)(input_ids=torch.tensor([[5, 6, 7]])).logits
        assert out.shape == (1, 3, 194) and out.dtype == dtype and bool(out.isfinite().all())


@needs_gguf
def test_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(tmp_path, tiny_gguf(tmp_path / "tiny.gguf"), monkeypatch)
    with pytest.raises(InputError, match=r"expected .*49152.* got .*194"):
        smollm2_path(cache=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "tiny.gguf"]


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A conversion that only copies; its calls are counted."""
    (tmp_path / "weights").write_bytes(b"w" * 100)
    pin(tmp_path / "cache", tmp_path / "weights", monkeypatch)
    calls: list[Path] = []

    def convert(gguf_file: Path, folder: Path) -> None:
        calls.append(folder)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(gguf_file.read_bytes())

    monkeypatch.setattr(smollm2, "_convert", convert)
    monkeypatch.setattr(smollm2, "_check_packages", lambda: None)
    return calls


def test_converts_once(tmp_path: Path, counted: list[Path]) -> None:
    folder = smollm2_path(cache=tmp_path / "cache")
    assert smollm2_path(cache=tmp_path / "cache") == folder and len(counted) == 1
    manifest = json.loads((folder / "textrl_source.json").read_text())
    assert manifest["files"]["model.safetensors"]["sha256"] == sha256_of(folder / "model.safetensors")


@pytest.mark.parametrize("damage", ["no manifest", "cut file", "lost file", "other version", "junk manifest"])
def test_half_finished_conversion_is_done_again(damage: str, tmp_path: Path, counted: list[Path]) -> None:
    folder = smollm2_path(cache=tmp_path / "cache")
    manifest, weights = folder / "textrl_source.json", folder / "model.safetensors"
    match damage:
        case "no manifest":
            manifest.unlink()
        case "cut file":
            weights.write_bytes(b"w")
        case "lost file":
            weights.unlink()
        case "other version":
            manifest.write_text(manifest.read_text().replace('"conversion": 1', '"conversion": 0'))
        case _:
            manifest.write_text("[]")
    assert smollm2_path(cache=tmp_path / "cache") == folder
    assert len(counted) == 2 and weights.read_bytes() == b"w" * 100
    assert sorted(path.name for path in folder.parent.iterdir()) == ["archives", folder.name]


def test_failed_conversion_leaves_no_model(
    tmp_path: Path, counted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(gguf_file: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "_convert", fail)
    with pytest.raises(KeyboardInterrupt):
        smollm2_path(cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["archives"]


def test_missing_package_is_told_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gguf" else found(name))

    def no_fetch(*args: object, **kwargs: object) -> Path:
        raise AssertionError("downloaded")

    monkeypatch.setattr(smollm2, "fetch", no_fetch)
    with pytest.raises(InputError, match=r"needs gguf, .* -m pip install gguf$"):
        smollm2_path(cache=tmp_path)
