"""Rows of SFT, DPO and KTO: checked as rows of files are, and encoded; all that is wrong with them is said at once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from textrl_env.agents.offline.sequences import TokenizedRow, tokenize_completion
from textrl_env.data import OnBadRow, Row
from textrl_env.data.columns import is_given, read_flag, read_number, split_messages, split_row
from textrl_env.data.rows import collect, place_rows, require_columns
from textrl_env.data.text import Prompt
from textrl_env.errors import InputError


@dataclass(frozen=True)
class CheckedRow:
    """A prompt, its completions, and what the row says of them: a probability or a verdict; 1 for demonstrations."""

    prompt: Prompt
    completions: tuple[str, ...]
    label: float = 1.0


@dataclass(frozen=True)
class EncodedRow:
    """A row as it was given, a sequence for each of its completions, and its label."""

    values: Mapping[str, Any]
    sequences: tuple[TokenizedRow, ...]
    label: float


def encode_rows(
    tokenizer: Any,
    rows: Iterable[Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], CheckedRow],
    *,
    name: str,
    max_length: int | None,
    max_new_tokens: int | None = None,
    on_bad_row: OnBadRow = "error",
) -> list[EncodedRow]:
    """Checks and encodes rows.

    Args:
        tokenizer: the model's.
        rows: in any container that `textrl_env.data.iterate_rows` reads; none is fine. A row may have its place
            (`file:line`) under `where`.
        read: checks a row; `read_demonstration`, `read_pair` or `read_verdict`.
        name: of a row, in messages.
        max_length: the most tokens that the model takes; None where it has no limit.
        max_new_tokens: completions end here, then without the end token.
        on_bad_row: `"error"`, or `"skip"` to leave bad rows out with a warning, those that are too long among them.

    Raises:
        InputError: no usable row, or (with `"error"`) bad ones, by their place.
    """

    def encode(row: Any) -> EncodedRow:
        values = row.values if isinstance(row, Row) else row
        require_columns(values, [])
        content = read(values)
        sequences = [
            tokenize_completion(tokenizer, content.prompt, text, max_length=max_length, max_new_tokens=max_new_tokens)
            for text in content.completions
        ]
        return EncodedRow(values, tuple(sequences), content.label)

    items = place_rows(rows, name=name)
    return collect(items, encode, source=f"{name}s", on_bad_row=on_bad_row) if items else []


def read_demonstration(row: Mapping[str, Any]) -> CheckedRow:
    """Checks a row with `prompt` and `completion`, or with a conversation in `messages`, whose last answer counts.

    InputError says what is wrong. Texts may be empty, but not missing.
    """
    if is_given(row.get("messages")):
        prompt, completion = split_messages(row)
    else:
        prompt, (completion,) = split_row(row, ["completion"])
    if not prompt:
        require_columns(row, ["prompt"])
    return CheckedRow(prompt, (completion,))


def read_pair(row: Mapping[str, Any]) -> CheckedRow:
    """Checks a row with `prompt`, `chosen`, `rejected` and, if given, `soft_label` or `tie`.

    InputError says what is wrong. The prompt may be empty, but not missing, unless the completions are conversations.
    """
    prompt, texts = split_row(row, ["chosen", "rejected"])
    if not prompt:
        require_columns(row, ["prompt"])
    label, tie = read_number(row, "soft_label"), read_flag(row, "tie")
    if label is not None and not 0 <= label <= 1:
        raise InputError(f"'soft_label' must be a number in [0, 1], got {row['soft_label']!r:.100}")
    if tie and label not in (None, 0.5):
        raise InputError(f"'tie' is true, but 'soft_label' is {label}; a tie has 0.5")
    return CheckedRow(prompt, tuple(texts), 0.5 if tie else 1.0 if label is None else label)


def read_verdict(row: Mapping[str, Any]) -> CheckedRow:
    """Checks a row with `prompt`, `completion` and `label`, true or false; InputError says what is wrong."""
    prompt, texts = split_row(row, ["completion"])
    require_columns(row, ["label"] if prompt else ["prompt", "label"])
    label = read_flag(row, "label")
    if label is None:
        raise InputError("'label' must be true or false, got nothing")
    return CheckedRow(prompt, tuple(texts), float(label))
