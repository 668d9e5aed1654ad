"""Checks of a task's options: each is what its name says, before anything is made of it."""

from collections.abc import Iterable
from typing import Any

from textrl_env.errors import InputError, require_count
from textrl_env.mdp.kl import KLShaping

TOKENIZER_PARTS = ("__len__", "encode", "decode", "pad_token_id", "eos_token_id")
REFERENCE_PARTS = ("decoder", "completion_logprobs")


def check_lengths(max_new_tokens: int, min_new_tokens: int, max_prompt_tokens: int | None) -> None:
    """Raises InputError for numbers of tokens that are no whole numbers, or out of range."""
    require_count(1, max_new_tokens=max_new_tokens)
    require_count(0, min_new_tokens=min_new_tokens)
    if min_new_tokens > max_new_tokens:
        raise InputError(f"min_new_tokens must be in [0, max_new_tokens={max_new_tokens}], got {min_new_tokens}")
    if max_prompt_tokens is not None:
        require_count(1, max_prompt_tokens=max_prompt_tokens)


def check_parts(tokenizer: Any, kl: Any, reference: Any) -> None:
    """Raises InputError where a name or a number stands for a tokenizer or KL shaping, a model for its reference."""
    if not _has(tokenizer, TOKENIZER_PARTS):
        raise InputError(
            f"tokenizer must be a tokenizer of transformers, or have {', '.join(TOKENIZER_PARTS)}; got "
            f"{_show(tokenizer)}"
        )
    if not (kl is None or isinstance(kl, KLShaping)):
        raise InputError(f"kl must be KLShaping(…) or None, got {_show(kl)}; a coefficient is KLShaping(coef=0.1)")
    if not (reference is None or _has(reference, REFERENCE_PARTS)):
        raise InputError(
            f"reference must have {' and '.join(REFERENCE_PARTS)}, got {_show(reference)}; of a model it is "
            "FrozenReference(model, vocab_size=len(tokenizer))"
        )
    if kl is not None and reference is None:
        raise InputError("kl shaping needs reference=FrozenReference(model)")


def check_stop_strings(texts: Any) -> tuple[str, ...]:
    """Returns the stop strings of any container; InputError where it holds something else than texts."""
    is_list = isinstance(texts, Iterable) and not isinstance(texts, str | bytes)
    strings = tuple(texts) if is_list else ()
    if not (is_list and all(isinstance(text, str) and text for text in strings)):
        raise InputError(f"stop_strings must be a list of non-empty texts, got {texts!r:.200}")
    return strings


def _has(value: Any, names: Iterable[str]) -> bool:
    """True for an object, and no class of such, with all of these attributes."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in names)


def _show(value: Any) -> str:
    """A value of another kind than expected: small ones as they are, others (a model) by their type."""
    return f"{value!r:.80}" if isinstance(value, str | int | float | type | None) else f"a {type(value).__name__}"
