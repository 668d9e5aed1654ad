"""Token ids to text: a completion's, as it follows its prompt, with every special token shown but the end."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from textrl_env.data.text.traits import TokenizerTraits, tokenizer_traits

REPLACEMENT = "\ufffd"
# A character has four bytes at most; with some that share a token with a neighbour's, more tokens depend on each other.
LONGEST_GROUP = 8


def decode_completion(
    tokenizer: Any, ids: Sequence[int], *, end_ids: Collection[int] | None = None, with_end: bool = False
) -> str:
    """Returns the text of a completion's ids, so that the prompt's text with it behind is the text of all the ids.

    A first token keeps its space, special tokens are their texts (`<think>`), and a final end token is left out. A
    tokenizer that is none of transformers shows special tokens only with `with_end`.

    Args:
        tokenizer: of the ids.
        ids: of a completion from its first token on.
        end_ids: the ids that end a completion; None for the tokenizer's end token.
        with_end: shows a final end token, too.
    """
    if end_ids is None:
        end_ids = () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
    ids = [int(number) for number in ids]
    if ids and ids[-1] in end_ids and not with_end:
        ids = ids[:-1]
    traits = tokenizer_traits(tokenizer)
    if not traits.is_transformers:
        return str(tokenizer.decode(ids, skip_special_tokens=not with_end))
    text = _decode_tokens(tokenizer, ids)
    if REPLACEMENT in text and traits.has_bytes:
        # Among single bytes, one that is broken takes the characters beside it along.
        groups = "".join(text for _, text in character_groups(tokenizer, ids))
        text = min(text, groups, key=lambda variant: variant.count(REPLACEMENT))
    return text


def _decode_tokens(tokenizer: Any, ids: Sequence[int]) -> str:
    """Returns the text of ids that follow others, special tokens as their texts."""
    traits = tokenizer_traits(tokenizer)
    if not traits.is_transformers:
        return str(tokenizer.decode(list(ids)))
    if traits.special_texts.keys().isdisjoint(ids):
        return _decode_run(tokenizer, traits, list(ids))
    return "".join(
        traits.gap + traits.special_texts[run[0]]
        if run[0] in traits.special_texts
        else _decode_run(tokenizer, traits, run)
        for run in _runs(ids, traits)
    )


def character_groups(tokenizer: Any, ids: Sequence[int]) -> Iterator[tuple[Sequence[int], str]]:
    """Yields the ids in groups that make whole characters, as few as may be, with their texts.

    A token that makes none with its neighbours is a group whose text has U+FFFD.
    """
    start = 0
    while start < len(ids):
        for size in range(1, min(LONGEST_GROUP, len(ids) - start) + 1):
            text = _decode_tokens(tokenizer, ids[start : start + size])
            if REPLACEMENT not in text:
                break
        else:
            size, text = 1, _decode_tokens(tokenizer, ids[start : start + 1])
        yield ids[start : start + size], text
        start += size


def _decode_run(tokenizer: Any, traits: TokenizerTraits, ids: list[int]) -> str:
    """The text of ids without special tokens, behind the context in which the first of them keeps its space."""
    if not ids:
        return ""
    text: str = tokenizer.decode([*traits.context, *ids], **traits.decode_options)
    if not text.startswith(traits.context_text):
        return str(tokenizer.decode(ids, **traits.decode_options))
    return text[len(traits.context_text) :]


def _runs(ids: Sequence[int], traits: TokenizerTraits) -> Iterator[list[int]]:
    """The ids cut at special tokens, each of which is a run of its own."""
    run: list[int] = []
    for number in ids:
        if number in traits.special_texts:
            if run:
                yield run
            run = []
            yield [number]
        else:
            run.append(number)
    if run:
        yield run
