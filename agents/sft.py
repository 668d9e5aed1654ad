"""Supervised fine-tuning: next-token cross-entropy on completions, with the prompt's tokens left out of the loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from textrl_env import InputError
from textrl_env.agents.run_log import run_logger
from textrl_env.agents.sft_config import SFTConfig
from textrl_env.master_weights import adamw
from textrl_env.one_cycle import one_cycle
from textrl_env.progress import progress_bar
from textrl_env.seeded import seeded
from textrl_env.tokenization import encode_completion, encode_prompt, pad_id


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt, its completion and the end token, and how many of them are the prompt's."""

    ids: list[int]
    prompt_length: int


def encode_demonstrations(
    tokenizer: Any, demonstrations: Sequence[Mapping[str, str]], *, max_length: int
) -> list[Example]:
    """Rows with `prompt` and `completion` as examples; InputError names a row of more than `max_length` tokens.

    A row may have its place (`file:line`) under `where`; else it is named by its index.
    """
    examples = []
    for index, row in enumerate(demonstrations):
        prompt = encode_prompt(tokenizer, row["prompt"])
        ids = prompt + encode_completion(tokenizer, row["completion"])
        if len(ids) > max_length:
            raise InputError(
                f"{row.get('where', f'demonstration {index}')}: {len(ids)} tokens, the model's context is "
                f"{max_length}; shorten or remove it: {row['prompt']!r:.60}"
            )
        examples.append(Example(ids, len(prompt)))
    return examples


def sft_loss(logits: Tensor, ids: Tensor, completion_mask: Tensor) -> Tensor:
    """Mean next-token cross-entropy over completion tokens, in nats: (B, L, V), (B, L), (B, L) -> scalar.

    `completion_mask` is True on the completion's tokens; each is predicted from the position before it.
    """
    targets = ids[:, 1:].masked_fill(~completion_mask[:, 1:], -100)
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=-100)


def train_sft(
    model: Any,
    tokenizer: Any,
    demonstrations: Sequence[Mapping[str, str]],
    config: SFTConfig,
    *,
    heldout: Sequence[Mapping[str, str]] = (),
    log_dir: str | Path | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> float:
    """Trains a causal LM in place on prompt-completion rows.

    Args:
        model: a causal LM of transformers; its parameters that need gradients are trained.
        tokenizer: its tokenizer.
        demonstrations: rows with `prompt` and `completion`.
        config: learning rate, steps and so on.
        heldout: rows whose loss is measured at the end and ten times on the way.
        log_dir: for `progress.jsonl`, `progress.csv` and TensorBoard.
        seed: of the order of the demonstrations and of dropout.
        should_stop: asked before every step; True ends the training early, with the model as it is.
    Returns:
        the held-out loss in nats per token, or the last training loss where nothing is held out.
    """
    limit = model.config.get_text_config().max_position_embeddings
    examples = encode_demonstrations(tokenizer, demonstrations, max_length=limit)
    heldout_examples = encode_demonstrations(tokenizer, heldout, max_length=limit)
    logger = run_logger(log_dir, verbose=0)
    generator = torch.Generator().manual_seed(seed)
    optimizer = adamw(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = one_cycle(
        optimizer, peak=config.learning_rate, n_steps=config.n_steps, warmup_fraction=config.warmup_fraction
    )
    fill, last = pad_id(tokenizer), float("nan")
    model.train()
    with seeded(seed, model.device), progress_bar("supervised fine-tuning", config.n_steps) as advance:
        for step in range(config.n_steps):
            if should_stop():
                break
            rows = torch.randint(len(examples), (config.batch_size,), generator=generator)
            loss = _batch_loss(model, [examples[row] for row in rows], fill)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            schedule.step()
            last = float(loss.detach())
            advance(note=f"loss {last:.3f}")
            logger.record("step", step + 1)
            logger.record("loss", last)
            if heldout_examples and (step + 1) % max(1, config.n_steps // 10) == 0:
                logger.record("heldout_loss", heldout_loss(model, heldout_examples, fill))
            logger.dump(step=step + 1)
    model.eval()
    logger.close()
    return heldout_loss(model, heldout_examples, fill) if heldout_examples else last


@torch.no_grad()
def heldout_loss(model: Any, examples: Sequence[Example], fill: int, *, batch_size: int = 64) -> float:
    """Mean loss per completion token over examples, in nats; leaves the model in the mode it was in."""
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


def _batch_loss(model: Any, examples: Sequence[Example], fill: int) -> Tensor:
    width = max(len(example.ids) for example in examples)
    lengths = torch.tensor([len(example.ids) for example in examples])
    prompts = torch.tensor([example.prompt_length for example in examples])
    ids = torch.tensor([example.ids + [fill] * (width - len(example.ids)) for example in examples])
    at = torch.arange(width)
    attended = at < lengths[:, None]
    counted = attended & (at >= prompts[:, None])
    device = next(model.parameters()).device
    # Right-padded and causal: the padding is never attended to by a token that counts.
    logits = model(input_ids=ids.to(device), attention_mask=attended.long().to(device), use_cache=False).logits
    return sft_loss(logits, ids.to(device), counted.to(device))
