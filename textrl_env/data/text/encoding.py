"""Texts to token ids: prompts as a text begins, completions as it goes on; special tokens' texts in data are text.

The rules, for every kind of tokenizer:

- A prompt has one BOS in front where the tokenizer or the chat template puts one there, whoever wrote it, and no end.
- A completion has the ids of a text that goes on, without the dummy space that some tokenizers put in front of a text.
- A completion that ends with the end token's text has ended: it has one end token.
- Everywhere else the text of a special token is text. A chat template's own special tokens are tokens.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from textrl_env.data.text.conversations import CLOSE, OPEN, Prompt, render_marked, unmark
from textrl_env.data.text.traits import TokenizerTraits, ids_behind, plain_ids, tokenizer_traits


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Returns the ids of a prompt, a text or a conversation; of an empty text the ids in front of every text (a BOS).

    Raises:
        InputError: a conversation, where the tokenizer has no chat template or its template refuses the messages.
    """
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Returns the ids of each of B prompts; texts together, which is faster than one after another.

    Raises:
        InputError: as `encode_prompt`.
    """
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    dialogues = [render_marked(tokenizer, prompt) for prompt in prompts if not isinstance(prompt, str)]
    rows = iter(_encode_texts(tokenizer, texts)), iter(_encode_dialogues(tokenizer, dialogues))
    return [next(rows[0] if isinstance(prompt, str) else rows[1]) for prompt in prompts]


def encode_completion(tokenizer: Any, completion: str, *, end: bool = True) -> list[int]:
    """Returns the ids of a completion as it follows a prompt; then the end token, if `end` or where its text stands."""
    text, has_end = _split_end(tokenizer, completion)
    ids = _encode_text(tokenizer, text, at_start=False)
    return [*ids, tokenizer.eos_token_id] if (end or has_end) and tokenizer.eos_token_id is not None else ids


def encode_pair(tokenizer: Any, prompt: Prompt, completion: str, *, end: bool = True) -> tuple[list[int], list[int]]:
    """Returns the ids of a prompt and of its completion with the end token; together they are what a model reads.

    With an empty prompt the completion is a whole text: it begins as a prompt does.

    Args:
        tokenizer: of the model.
        prompt: a text, may be empty, or a conversation.
        completion: its text.
        end: append the end token; without it the completion goes on, unless its text ends with the end token's.
    """
    if prompt:
        return encode_prompt(tokenizer, prompt), encode_completion(tokenizer, completion, end=end)
    traits = tokenizer_traits(tokenizer)
    if not traits.is_transformers:
        return encode_prompt(tokenizer, ""), encode_completion(tokenizer, completion, end=end)
    text, has_end = _split_end(tokenizer, completion)
    front, text = _split_bos(tokenizer, traits, text)
    ids = _encode_text(tokenizer, text, at_start=True)
    return front, [*ids, tokenizer.eos_token_id] if (end or has_end) and tokenizer.eos_token_id is not None else ids


def _encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text with the special tokens that the tokenizer puts in front, none behind."""
    rows = _encode_batch(tokenizer, texts, add_special_tokens=True)
    traits = tokenizer_traits(tokenizer)
    return [_encode_start(tokenizer, traits, text, ids) for text, ids in zip(texts, rows, strict=True)]


def _encode_dialogues(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each rendered conversation, which holds its special tokens already."""
    rows = iter(_encode_batch(tokenizer, [text for text in texts if OPEN not in text], add_special_tokens=False))
    return [_encode_marked(tokenizer, text) if OPEN in text else next(rows) for text in texts]


def _encode_batch(tokenizer: Any, texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
    if not callable(tokenizer):
        return [list(tokenizer.encode(text, add_special_tokens=add_special_tokens)) for text in texts]
    if not texts:
        return []
    # A tokenizer may be set to read all special tokens as text, the template's too.
    options = {"split_special_tokens": False} if getattr(tokenizer, "split_special_tokens", False) else {}
    rows: list[list[int]] = tokenizer(
        list(texts),
        add_special_tokens=add_special_tokens,
        return_attention_mask=False,
        return_token_type_ids=False,
        **options,
    )["input_ids"]
    return rows


def _encode_start(tokenizer: Any, traits: TokenizerTraits, text: str, ids: list[int]) -> list[int]:
    """The ids of a prompt's text from those that the tokenizer makes of it, special tokens around them."""
    if not traits.is_transformers:
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    core = ids[len(traits.front) :]
    if traits.back and tuple(core[-len(traits.back) :]) == traits.back:
        core = core[: -len(traits.back)]
    if not _holds_special(tokenizer, traits, text, core):
        return [*ids[: len(traits.front)], *core]
    front, rest = _split_bos(tokenizer, traits, text)
    if special := next((special for special in traits.specials if special in rest), None):
        warnings.warn(
            f"a prompt's text holds {special!r}, which is read as text and not as the special token; give prompts of "
            "several turns as conversations, which the tokenizer's chat template renders",
            stacklevel=2,
        )
    return front + _encode_as_text(tokenizer, traits, rest, at_start=True)


def _encode_text(tokenizer: Any, text: str, *, at_start: bool) -> list[int]:
    """The ids of a text in which special tokens' texts are text, without special tokens around it."""
    traits = tokenizer_traits(tokenizer)
    ids = _encode_form(tokenizer, traits, text, split=False, at_start=at_start)
    if _holds_special(tokenizer, traits, text, ids):
        return _encode_as_text(tokenizer, traits, text, at_start=at_start)
    return ids


def _encode_marked(tokenizer: Any, text: str) -> list[int]:
    """The ids of a rendered conversation, in which special tokens between marks are text; others are the template's."""
    traits, ids, plain = tokenizer_traits(tokenizer), [], ""
    # A tokenizer encodes what stands between two special tokens by itself; so may we, where it holds marks.
    for stretch, after_special in _stretches(text, traits):
        if OPEN not in stretch:
            plain += stretch
            continue
        ids += plain_ids(tokenizer, unmark(plain)) if plain else []
        at_start = not (after_special and traits.bare_after_special)
        ids += _encode_as_text(tokenizer, traits, unmark(stretch), at_start=at_start)
        plain = ""
    return ids + (plain_ids(tokenizer, unmark(plain)) if plain else [])


def _stretches(text: str, traits: TokenizerTraits) -> Iterator[tuple[str, bool]]:
    """The parts of a rendered conversation: the template's special tokens, and texts; True where one stands before."""
    specials = "|".join(map(re.escape, sorted(traits.specials, key=len, reverse=True)))
    position, after_special = 0, False
    for match in re.finditer(f"{OPEN}(?:{specials}){CLOSE}|({specials})", text):
        if match[1] is None:
            continue
        if match.start() > position:
            yield text[position : match.start()], after_special
        yield match[0], after_special
        position, after_special = match.end(), True
    if position < len(text):
        yield text[position:], after_special


def _split_bos(tokenizer: Any, traits: TokenizerTraits, text: str) -> tuple[list[int], str]:
    """The special tokens in front of a text, and the text without a BOS that was written in front of it."""
    front, bos = list(traits.front), getattr(tokenizer, "bos_token", None)
    if not (isinstance(bos, str) and bos and text.startswith(bos)):
        return front, text
    while text.startswith(bos):
        text = text[len(bos) :]
    return front if tokenizer.bos_token_id in front else [tokenizer.bos_token_id, *front], text


def _split_end(tokenizer: Any, text: str) -> tuple[str, bool]:
    """A text without the end token's text behind it, and whether it was there."""
    end, body = getattr(tokenizer, "eos_token", None), text
    while isinstance(end, str) and end and body.endswith(end):
        body = body[: -len(end)]
    return body, body != text


def _encode_form(tokenizer: Any, traits: TokenizerTraits, text: str, *, split: bool, at_start: bool) -> list[int]:
    """The ids of a text without special tokens around it, at the start or behind another text."""
    if not text:
        return []
    if at_start or traits.starts_alike:
        return plain_ids(tokenizer, text, split=split)
    ids = ids_behind(tokenizer, traits.leads, text, split=split)
    # A dummy space in front of the text stands for one of the text's.
    return plain_ids(tokenizer, text.removeprefix(" "), split=split) if ids is None else ids


def _holds_special(tokenizer: Any, traits: TokenizerTraits, text: str, ids: Sequence[int]) -> bool:
    """True where the tokenizer made a special token of a text's characters."""
    if not traits.controls.isdisjoint(ids):
        return True
    unknown = getattr(tokenizer, "unk_token", None)
    return bool(traits.specials) and isinstance(unknown, str) and unknown in text


def _encode_as_text(tokenizer: Any, traits: TokenizerTraits, text: str, *, at_start: bool) -> list[int]:
    """The ids of a text in which special tokens' texts are text."""
    ids = _encode_form(tokenizer, traits, text, split=True, at_start=at_start)
    if traits.controls.isdisjoint(ids):
        return ids
    # The vocabulary holds special tokens as if they were words: a cut in each takes it apart.
    specials = "|".join(map(re.escape, sorted(traits.specials, key=len, reverse=True)))
    cuts = [0, *(match.start() + 1 for match in re.finditer(specials, text)), len(text)]
    parts = [text[start:stop] for start, stop in pairwise(cuts) if stop > start]
    ids = []
    for number, part in enumerate(parts):
        ids += _encode_form(tokenizer, traits, part, split=True, at_start=at_start and number == 0)
    return [number for number in ids if number not in traits.controls]
