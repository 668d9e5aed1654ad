"""Tokenizers of every kind that there is, and what each of them does by a way that shares nothing with the library."""

import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

LINES = ["when do you close at five", "hello there, how are you?", "we open at one or two, not three.", "a b c d e"] * 4
WORDS = ["we", "close", "at", "five", "when", "do", "you", "a", "or", "'s", "."]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] | trim }}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n<think>{% endif %}"
)
CHAT = ["<|start|>", "<|end|>", "<think>", "</think>"]
SPACE = "\u2581"


@dataclass(frozen=True, repr=False, eq=False)
class Kind:
    """A tokenizer, and what its ids and texts are by an independent way.

    Attributes:
        tokenizer: of transformers.
        front: ids in front of every text.
        goes_on: from a text to its ids as it continues another; special tokens' texts are text.
        starts: the same at a text's start, without `front`.
        token_bytes: from an id to its bytes as it continues another text; None where texts do not come back as they
            were (a tokenizer that lowercases, for instance).
    """

    tokenizer: Any
    front: list[int]
    goes_on: Callable[[str], list[int]]
    starts: Callable[[str], list[int]]
    token_bytes: Callable[[str], bytes] | None = None

    def __repr__(self) -> str:
        return next(name for name in MAKERS if kind_of(name) is self)

    @property
    def specials(self) -> list[str]:
        return [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]

    def slow_text(self, ids: Sequence[int]) -> str:
        """The text of ids that continue another, byte by byte, special tokens as their texts."""
        assert self.token_bytes is not None
        special = {number: token.content for number, token in self.tokenizer.added_tokens_decoder.items()}
        text, run = "", b""
        for number in ids:
            if number in special:
                text, run = text + run.decode("utf-8", "replace") + special[number], b""
            else:
                run += self.token_bytes(self.tokenizer.convert_ids_to_tokens(number))
        return text + run.decode("utf-8", "replace")


def make_kind(
    backend: Tokenizer,
    change: Callable[[dict[str, Any]], None] = lambda pipeline: None,
    *,
    front: str = "",
    back: str = "",
    token_bytes: Callable[[str], bytes] | None = None,
    extra: Sequence[str] = (),
    **names: str,
) -> Kind:
    """A kind of a backend whose special tokens are `names`; `change` takes the dummy space out of its pipeline."""
    if front or back:
        around = [(token, backend.token_to_id(token)) for token in (front, back) if token]
        single = " ".join(part for part in (front, "$A", back) if part)
        backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=around)
    options: dict[str, Any] = {"additional_special_tokens": list(extra)} if extra else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names, **options)
    return Kind(
        tokenizer,
        [tokenizer.convert_tokens_to_ids(front)] if front else [],
        _independent_encoder(tokenizer, change),
        _independent_encoder(tokenizer, lambda pipeline: None),
        token_bytes,
    )


def _independent_encoder(tokenizer: Any, change: Callable[[dict[str, Any]], None]) -> Callable[[str], list[int]]:
    pipeline = json.loads(tokenizer.backend_tokenizer.to_str())
    pipeline["post_processor"] = None
    change(pipeline)
    other = Tokenizer.from_str(json.dumps(pipeline))
    other.encode_special_tokens = True
    return lambda text: list(other.encode(text, add_special_tokens=False).ids)


def _byte_table() -> dict[str, int]:
    """From the characters of byte-level vocabularies to bytes, as GPT-2's `bytes_to_unicode` has them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


def byte_level(special: Sequence[str], *, prefix_space: bool = False, **options: Any) -> Kind:
    table = _byte_table()
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(LINES, trainer)

    def without_space(pipeline: dict[str, Any]) -> None:
        pipeline["pre_tokenizer"]["add_prefix_space"] = False

    return make_kind(
        backend, without_space, token_bytes=lambda token: bytes(table[character] for character in token), **options
    )


def _sentence_piece_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for character in f"{SPACE}{string.ascii_letters}{string.digits}?.!,'\n":
        vocabulary.setdefault(character, len(vocabulary))
    merges = []
    for word in WORDS:
        current = SPACE
        for character in word:
            if current + character not in vocabulary:
                vocabulary[current + character] = len(vocabulary)
                merges.append((current, character))
            current += character
    for pair in ("\n\n", "at", SPACE * 2):
        vocabulary[pair] = len(vocabulary)
        merges.append((pair[0], pair[1]))
    return vocabulary, merges


def _sentence_piece_bytes(token: str) -> bytes:
    return bytes([int(token[3:5], 16)]) if token.startswith("<0x") else token.replace(SPACE, " ").encode()


_SENTENCE_PIECE_DECODER = [
    decoders.Replace(SPACE, " "),
    decoders.ByteFallback(),
    decoders.Fuse(),
    decoders.Strip(" ", 1, 0),
]


def llama(**options: Any) -> Kind:
    """SentencePiece's BPE as Llama 2 has it: a dummy space in front of every stretch, byte fallback."""
    vocabulary, merges = _sentence_piece_vocabulary()
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    backend.decoder = decoders.Sequence(_SENTENCE_PIECE_DECODER)

    def without_space(pipeline: dict[str, Any]) -> None:
        pipeline["normalizer"]["normalizers"].pop(0)

    return make_kind(backend, without_space, token_bytes=_sentence_piece_bytes, unk_token="<unk>", **options)


def metaspace(scheme: str, *, unigram: bool = False, **options: Any) -> Kind:
    """SentencePiece as newer conversions have it: a pre-tokenizer that puts the space in front."""
    vocabulary, merges = _sentence_piece_vocabulary()
    if unigram:
        pieces = [(token, 0.0 if len(token) > 5 else -4.0 / len(token)) for token in vocabulary]
        backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    else:
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=unigram)
    backend.decoder = decoders.Sequence(_SENTENCE_PIECE_DECODER)

    def without_space(pipeline: dict[str, Any]) -> None:
        pipeline["pre_tokenizer"]["prepend_scheme"] = "never"

    return make_kind(backend, without_space, token_bytes=_sentence_piece_bytes, unk_token="<unk>", **options)


def word_piece(**options: Any) -> Kind:
    """BERT's: lowercase, no byte of what it does not know, a space before each word when decoded."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[EOS]", *string.ascii_lowercase, *".,?!'<>[]/", *WORDS]
    pieces += [f"##{letter}" for letter in string.ascii_lowercase]
    backend = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(dict.fromkeys(pieces))}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return make_kind(backend, unk_token="[UNK]", pad_token="[PAD]", **options)


def word_level(**options: Any) -> Kind:
    """Words between spaces; its special tokens are words of its vocabulary, and it has no decoder."""
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *WORDS, "hello", "<"]
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(dict.fromkeys(words))}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return make_kind(backend, unk_token="<unk>", **options)


S = {"bos_token": "<s>", "eos_token": "</s>"}
MAKERS: dict[str, Callable[[], Kind]] = {
    "byte level": lambda: byte_level(
        ["<pad>", "<bos>", "<eos>"], front="<bos>", pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    ),
    "byte level, one token for all": lambda: byte_level(
        ["<|endoftext|>"], bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    ),
    "byte level, no bos, chat": lambda: byte_level(
        ["<eos>", *CHAT], eos_token="<|end|>", pad_token="<eos>", extra=CHAT
    ),
    "byte level, space in front": lambda: byte_level(
        ["<s>", "</s>"], prefix_space=True, front="<s>", back="</s>", pad_token="</s>", **S
    ),
    "llama": lambda: llama(front="<s>", **S),
    "llama, pad is eos": lambda: llama(front="<s>", pad_token="</s>", **S),
    "llama, no bos": lambda: llama(eos_token="</s>"),
    "metaspace, first": lambda: metaspace("first", front="<s>", back="</s>", **S),
    "metaspace, always": lambda: metaspace("always", front="<s>", **S),
    "metaspace, never": lambda: metaspace("never", front="<s>", **S),
    "unigram": lambda: metaspace("always", unigram=True, back="</s>", **S),
    "word piece": lambda: word_piece(front="[CLS]", back="[SEP]", bos_token="[CLS]", eos_token="[EOS]"),
    "word level": lambda: word_level(pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", front="<bos>"),
}


@cache
def kind_of(name: str) -> Kind:
    return MAKERS[name]()


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every kind of tokenizer in turn."""
    return kind_of(request.param)


@pytest.fixture(scope="session")
def kinds() -> dict[str, Kind]:
    """All kinds of tokenizers by name."""
    return {name: kind_of(name) for name in MAKERS}
