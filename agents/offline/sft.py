"""Supervised fine-tuning: next-token cross-entropy on completions, with the prompt's tokens left out of the loss."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from textrl_env.agents.offline.configs import SFTConfig
from textrl_env.agents.offline.loop import RowRun, train_on_rows
from textrl_env.agents.offline.rows import EncodedRow, encode_rows, read_demonstration
from textrl_env.agents.offline.sequences import TokenizedRow, pad_rows
from textrl_env.data import OnBadRow
from textrl_env.data.text import pad_id
from textrl_env.errors import InputError
from textrl_env.lm import check_fits, context_length
from textrl_env.lm.forward import require_causal
from textrl_env.training import Metrics


def encode_demonstrations(
    tokenizer: Any,
    demonstrations: Iterable[Mapping[str, Any]],
    *,
    max_length: int | None,
    on_bad_row: OnBadRow = "error",
) -> list[EncodedRow]:
    """Checks and encodes demonstrations as `train_sft` takes them; InputError names bad rows, over-long ones too."""
    return encode_rows(
        tokenizer,
        demonstrations,
        read_demonstration,
        name="demonstration",
        max_length=max_length,
        on_bad_row=on_bad_row,
    )


def sft_loss(logits: Tensor, ids: Tensor, completion_mask: Tensor) -> Tensor:
    """Mean next-token cross-entropy over completion tokens, in nats: (B, L, V), (B, L), (B, L) -> scalar.

    `completion_mask` is True on the completion's tokens; each is predicted from the position before it.
    """
    targets = ids[:, 1:].masked_fill(~completion_mask[:, 1:], -100)
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=-100)


def train_sft(
    model: Any,
    tokenizer: Any,
    demonstrations: Iterable[Mapping[str, Any]],
    config: SFTConfig,
    *,
    heldout: Iterable[Mapping[str, Any]] = (),
    on_bad_row: OnBadRow = "error",
    **run: Unpack[RowRun],
) -> float:
    """Trains a causal LM in place on prompt-completion rows.

    Args:
        model: a causal LM of transformers; its parameters that need gradients are trained.
        tokenizer: its tokenizer.
        demonstrations: rows with `prompt` and `completion`, texts or messages, or with a conversation in `messages`,
            whose last answer is trained on; in any container that `textrl_env.data.iterate_rows` reads.
        config: learning rate, steps and so on.
        heldout: rows whose loss is measured at the end and ten times on the way.
        on_bad_row: `"error"`, or `"skip"` to leave out bad rows and those longer than the context, with a warning.
        **run: `log_dir`, `seed`, `should_stop`, `saver` and `resume`, see `RowRun`.

    Returns:
        the held-out loss in nats per token, or the last training loss where nothing is held out.

    Raises:
        InputError: no demonstrations, or bad ones, by their place; or a model without an embedding for a token of the
            tokenizer.
    """
    require_causal(model, role="the model")
    check_fits(model, tokenizer)
    limit = context_length(model)
    encode = partial(encode_demonstrations, tokenizer, max_length=limit, on_bad_row=on_bad_row)
    examples, heldout_examples = ([row.sequences[0] for row in encode(rows)] for rows in (demonstrations, heldout))
    if not examples:
        raise InputError("no demonstrations to train on")
    fill = pad_id(tokenizer)

    def loss_of(rows: list[int]) -> tuple[Tensor, Metrics]:
        return _batch_loss(model, [examples[row] for row in rows], fill), {}

    def measure_heldout() -> Metrics:
        return {"heldout_loss": heldout_loss(model, heldout_examples, fill)} if heldout_examples else {}

    model.train()
    metrics = train_on_rows(
        model,
        [(example.ids, example.prompt_length) for example in examples],
        loss_of,
        config,
        description="supervised fine-tuning",
        heldout=measure_heldout,
        **run,
    )
    model.eval()
    return measure_heldout().get("heldout_loss", metrics["loss"])


@torch.no_grad()
def heldout_loss(model: Any, examples: Sequence[TokenizedRow], fill: int, *, batch_size: int = 64) -> float:
    """Computes the mean loss per completion token, in nats; leaves the model in the mode it was in.

    Args:
        model: a causal LM.
        examples: one or more.
        fill: the token id that pads.
        batch_size: examples per forward.
    """
    training = model.training
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(examples), batch_size):
        part = examples[start : start + batch_size]
        tokens = sum(len(example.ids) - example.prompt_length for example in part)
        total += float(_batch_loss(model, part, fill)) * tokens
        count += tokens
    model.train(training)
    return total / count


def _batch_loss(model: Any, examples: Sequence[TokenizedRow], fill: int) -> Tensor:
    ids, attention_mask, completion_mask = pad_rows(examples, fill, next(model.parameters()).device)
    # Right-padded and causal: the padding is never attended to by a token that counts.
    logits = model(input_ids=ids, attention_mask=attention_mask.long(), use_cache=False).logits
    return sft_loss(logits, ids, completion_mask)
