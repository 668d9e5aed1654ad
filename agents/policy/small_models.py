"""A small language model from scratch: a byte-level BPE tokenizer of the user's own texts, and a Llama for it."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from textrl_env.errors import InputError, require_count
from textrl_env.training import seeded

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 1024) -> Any:
    """Trains a `PreTrainedTokenizerFast` with pad (id 0), bos (1) and eos (2) that puts the bos in front of a prompt.

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
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def small_llama(
    tokenizer: Any, *, hidden_size: int = 96, layers: int = 2, heads: int = 4, context: int = 256, seed: int = 0
) -> Any:
    """Makes a `LlamaForCausalLM` with tied embeddings and random weights from `seed`.

    The weights' spread of 0.1 is five times the usual one: at the usual one, a model of this width does not learn to
    copy words of the prompt within a few hundred steps.

    Args:
        tokenizer: whose tokens the model has.
        hidden_size: width, a multiple of 2 `heads`.
        layers: at least 1.
        heads: of attention, at least 1.
        context: the most tokens of a text.
        seed: of the weights.

    Raises:
        InputError: a size below 1, or a hidden size that the heads cannot share evenly in pairs of dimensions.
    """
    require_count(1, hidden_size=hidden_size, layers=layers, heads=heads, context=context)
    if hidden_size % (2 * heads):
        raise InputError(f"hidden_size must be a multiple of {2 * heads} (2 x {heads} heads), got {hidden_size}")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=context,
        initializer_range=0.1,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=getattr(tokenizer, "bos_token_id", None),
    )
    with seeded(seed):
        return LlamaForCausalLM(config).eval()
