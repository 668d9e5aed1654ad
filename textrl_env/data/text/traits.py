"""How a tokenizer treats the edges of a text, learnt by trying it once: nothing here knows a kind of tokenizer by name.

Some tokenizers put a dummy space in front of every text (SentencePiece), some decode a first token without its space,
some put special tokens around a text; what is true of a text alone is then not true of a text that continues another.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

PROBES = ("a", "e", "x", "0", ".", "?", "\n", "-")
"""Texts to stand in front of another; one of them does not merge with its beginning.

Letters come first: a mark would take the apostrophe of "'s" to itself where words are cut by a pattern.
"""


@dataclass(frozen=True)
class TokenizerTraits:
    """Facts about a tokenizer.

    Attributes:
        is_transformers: whether it is one of transformers, which knows its special tokens; what follows is learnt of
            those only.
        specials: special tokens' ids by their text.
        special_texts: their texts by id.
        controls: ids of the special tokens that stand for no text, all but the unknown token.
        front, back: ids that it puts around a text.
        starts_alike: whether a text has the same ids at the start as after another text.
        bare_after_special: whether a text has after a special token the ids that it has after another text.
        leads: texts, with their ids, that another text may be put behind to learn its ids after a text.
        context: ids to put in front when decoding, since the first token loses its space; often none.
        context_text: their text.
        gap: the text that the tokenizer decodes between a text and a special token: a space or nothing.
        has_bytes: whether single bytes are tokens of their own (`<0x0A>`), and characters texts.
        decode_options: further arguments of `decode` with which a text comes back as it was.
    """

    is_transformers: bool = False
    specials: Mapping[str, int] = field(default_factory=dict)
    special_texts: Mapping[int, str] = field(default_factory=dict)
    controls: frozenset[int] = frozenset()
    front: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    starts_alike: bool = True
    bare_after_special: bool = False
    leads: tuple[tuple[str, list[int]], ...] = ()
    context: tuple[int, ...] = ()
    context_text: str = ""
    gap: str = ""
    has_bytes: bool = False
    decode_options: Mapping[str, Any] = field(default_factory=dict)


_CACHE: WeakKeyDictionary[Any, tuple[Any, TokenizerTraits]] = WeakKeyDictionary()


def tokenizer_traits(tokenizer: Any) -> TokenizerTraits:
    """Returns the traits of a tokenizer; learnt anew where tokens were added to it or its special tokens changed."""
    is_transformers = callable(tokenizer) and hasattr(tokenizer, "added_tokens_decoder")
    state: tuple[Any, ...] = (len(tokenizer), tokenizer.eos_token_id)
    if is_transformers:
        state += (tuple(tokenizer.all_special_ids), len(tokenizer.added_tokens_decoder), tokenizer.bos_token_id)
        state += tuple(getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token"))
    try:
        entry = _CACHE.get(tokenizer)
        if entry is None or entry[0] != state:
            _CACHE[tokenizer] = entry = (state, _learn_traits(tokenizer, is_transformers))
    except TypeError:  # It cannot be hashed, or nothing can refer to it weakly.
        return _learn_traits(tokenizer, is_transformers)
    return entry[1]


def plain_ids(tokenizer: Any, text: str, *, split: bool = False) -> list[int]:
    """Returns the ids of a text that stands alone, without special tokens around it.

    Args:
        tokenizer: any; only those of transformers can split.
        text: the text.
        split: special tokens' texts in it are text, not the tokens.
    """
    options = {"split_special_tokens": split} if split or getattr(tokenizer, "split_special_tokens", False) else {}
    return list(tokenizer.encode(text, add_special_tokens=False, **options))


def ids_behind(tokenizer: Any, leads: Iterable[tuple[str, list[int]]], text: str, *, split: bool) -> list[int] | None:
    """Returns the ids of a text behind the first of some leads that it does not merge with; None where it always does.

    Tokenization is local: where the lead's ids come first, the others are those that the text has behind any text.
    """
    for lead, lead_ids in leads:
        ids = plain_ids(tokenizer, lead + text, split=split)
        if ids[: len(lead_ids)] == lead_ids:
            return ids[len(lead_ids) :]
    return None


def _learn_traits(tokenizer: Any, is_transformers: bool) -> TokenizerTraits:
    if not is_transformers:
        return TokenizerTraits()
    named_ids = set(tokenizer.all_special_ids)
    specials = {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or number in named_ids
    }
    unknown = tokenizer.unk_token_id
    front, back = _special_tokens_around(tokenizer)
    leads = tuple((text, ids) for text in PROBES if (ids := _try(plain_ids, tokenizer, text)) and unknown not in ids)
    texts = ("a", " a")
    alone = {text: plain_ids(tokenizer, text) for text in texts}
    # Behind a mark, since behind a letter a text may be the rest of a word, with ids of its own in WordPiece.
    marks = [lead for lead in leads if not lead[0].isalnum()]
    starts_alike = all(
        ids_behind(tokenizer, [mark], text, split=False) in (None, alone[text]) for mark in marks for text in texts
    )
    bare_after_special = any(
        plain_ids(tokenizer, special + "a") == [number, *(ids_behind(tokenizer, leads, "a", split=False) or ())]
        for special, number in list(specials.items())[:4]
    )
    options = _exact_decoding(tokenizer, leads)
    context, context_text = _decoding_context(tokenizer, leads, options)
    return TokenizerTraits(
        is_transformers=True,
        specials=specials,
        special_texts={number: text for text, number in specials.items()},
        controls=frozenset(specials.values()) - {unknown},
        front=front,
        back=back,
        starts_alike=starts_alike,
        bare_after_special=bare_after_special,
        leads=leads,
        context=context,
        context_text=context_text,
        gap=_gap_before_special(tokenizer, specials, leads, options),
        has_bytes=_try(lambda: [tokenizer.convert_tokens_to_ids("<0x0A>")]) not in (None, [None], [unknown]),
        decode_options=options,
    )


def _special_tokens_around(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids in front of and behind a text that stands alone."""
    for text in PROBES:
        alone = _try(plain_ids, tokenizer, text)
        ids = _try(lambda: list(tokenizer.encode(text, add_special_tokens=True)))  # noqa: B023 - called at once
        if not alone or ids is None:
            continue
        for start in range(len(ids) - len(alone) + 1):
            if ids[start : start + len(alone)] == alone:
                return tuple(ids[:start]), tuple(ids[start + len(alone) :])
    return (), ()


def _exact_decoding(tokenizer: Any, leads: Sequence[tuple[str, list[int]]]) -> dict[str, Any]:
    """Options with which spaces before punctuation survive, where the tokenizer keeps them in its ids."""
    exact = {"clean_up_tokenization_spaces": False}
    texts = ("a .", "a.")
    return exact if all(tokenizer.decode(plain_ids(tokenizer, text), **exact) == text for text in texts) else {}


def _decoding_context(
    tokenizer: Any, leads: Sequence[tuple[str, list[int]]], options: Mapping[str, Any]
) -> tuple[tuple[int, ...], str]:
    """Ids to decode behind, with their text; none where tokens decode alone as they do behind others."""
    for lead, ids in leads:
        text = tokenizer.decode(ids, **options)
        if lead.isspace() or text != lead:
            continue
        for later in (plain_ids(tokenizer, continuation) for continuation in ("a", " a")):
            joint = tokenizer.decode([*ids, *later], **options)
            if joint.startswith(text) and joint[len(text) :] != tokenizer.decode(later, **options):
                return tuple(ids), text
    return (), ""


def _gap_before_special(
    tokenizer: Any, specials: Mapping[str, int], leads: Sequence[tuple[str, list[int]]], options: Mapping[str, Any]
) -> str:
    for special, number in specials.items():
        for _, ids in leads[:1]:
            text = tokenizer.decode([*ids, number], **options)
            return " " if text == f"{tokenizer.decode(ids, **options)} {special}" else ""
    return ""


def _try(function: Callable[..., list[int]], *args: Any) -> list[int] | None:
    """The function's value; None where a tokenizer of few characters refuses a text."""
    try:
        return function(*args)
    except Exception:  # Tokenizers raise what they like.
        return None
