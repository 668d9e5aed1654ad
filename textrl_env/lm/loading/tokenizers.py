"""Tokenizers from a folder, tried on a text before anything relies on them."""

from pathlib import Path
from typing import Any

from textrl_env.errors import InputError
from textrl_env.lm.loading.configs import CONFIG, knows_architecture, load_config, read_config
from textrl_env.lm.loading.fits import check_ids
from textrl_env.lm.loading.folders import EXPECTED, named_faults, read_object, require_folder

SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TOKENIZER = "tokenizer.json"
PLAIN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
TRIAL = "The quick brown fox, 12 times.\n"


def load_tokenizer(folder: str | Path, *, pads: bool = True) -> Any:
    """Loads the tokenizer of a folder or hub id, which needs no model beside it.

    Args:
        folder: the folder or hub id.
        pads: it needs a pad or an end token, as all batches do.

    Raises:
        InputError: no tokenizer, a damaged one, one that only code of its own could load, or one that no policy can
            use: ids with holes between them, ids beyond its own, neither a pad nor an end token, a chat template that
            is none.
    """
    from transformers import AutoTokenizer

    folder = require_folder(folder)
    for name in SETTINGS:
        if (folder / name).exists():
            settings = read_object(folder / name)
            if settings.get("gguf_file"):
                raise InputError(f"{folder / name}: gguf_file is not read; {EXPECTED}")
    config = _load_config(folder)
    has_file = (folder / TOKENIZER).exists()
    place, fault = (folder / TOKENIZER, "no tokenizer") if has_file else (folder, f"no tokenizer here, no {TOKENIZER}")
    try:
        with named_faults(place, fault):
            tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    except InputError as error:
        if "trust_remote_code" in str(error.__cause__):
            raise InputError(
                f"{folder}: can only be loaded by code of its own, which is not run; use a model that transformers "
                "knows"
            ) from None
        if has_file:
            read_object(folder / TOKENIZER)
        raise
    if pads and tokenizer.pad_token_id is None and tokenizer.eos_token_id is None:
        raise InputError(
            f"{folder}: the tokenizer has neither a pad nor an eos token; name one in {SETTINGS[0]} (eos_token)"
        )
    _check(tokenizer, folder)
    return tokenizer


def _load_config(folder: Path) -> Any:
    """Loads the configuration, by which transformers chooses the tokenizer's class; an empty one where it must not.

    A `tokenizer.json` of no class of its own is read as it is: the class of the model would add its own tokens.
    """
    from transformers import PretrainedConfig

    settings = read_object(folder / SETTINGS[0]) if (folder / SETTINGS[0]).exists() else {}
    if (folder / TOKENIZER).exists() and settings.get("tokenizer_class") in PLAIN_CLASSES:
        return PretrainedConfig()
    if not (folder / CONFIG).exists() or not knows_architecture(read_config(folder)):
        return PretrainedConfig()
    return load_config(folder)


def _check(tokenizer: Any, folder: Path) -> None:
    """Raises InputError where a tokenizer cannot be used."""
    with named_faults(folder, "its tokenizer cannot be used"):
        check_ids(tokenizer, f"{folder}: the tokenizer")
        ids = tokenizer(TRIAL)["input_ids"]
        tokenizer.decode(ids)
        template = getattr(tokenizer, "chat_template", None)
    beyond = [number for number in ids if not 0 <= number < len(tokenizer)]
    if beyond:
        raise InputError(
            f"{folder / TOKENIZER}: gives id {beyond[0]}, but its ids end at {len(tokenizer) - 1}; {EXPECTED}"
        )
    if template is not None and not isinstance(template, str | dict):
        raise InputError(f"{folder}: its chat_template is a {type(template).__name__}, expected a text; {EXPECTED}")
    if template:
        _try_template(tokenizer, folder)


def _try_template(tokenizer: Any, folder: Path) -> None:
    """Raises InputError where a chat template is no Jinja; what it refuses is said where a conversation is rendered."""
    from jinja2 import TemplateSyntaxError

    try:
        tokenizer.apply_chat_template([{"role": "user", "content": TRIAL}], tokenize=False)
    except TemplateSyntaxError as error:
        raise InputError(f"{folder}: its chat template is no Jinja ({error}, line {error.lineno})") from error
    except Exception:
        return
