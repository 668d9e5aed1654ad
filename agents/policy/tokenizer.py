"""A byte-level BPE tokenizer trained on the user's own texts."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from textrl_env.errors import InputError

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 1024) -> Any:
    """A `PreTrainedTokenizerFast` with pad (id 0), bos (1) and eos (2) that puts the bos in front of a prompt.

    Args:
        texts: what the language looks like; any text can be encoded afterwards, since all bytes are in the vocabulary.
        vocab_size: the most tokens, at least 259 (bytes and special tokens).

    Raises:
        InputError: a smaller `vocab_size`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < (least := len(alphabet) + 3):
        raise InputError(f"vocab_size must be at least {least} (all bytes and 3 special tokens), got {vocab_size}")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=[PAD, BOS, EOS], initial_alphabet=alphabet,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, padding_side="left",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
