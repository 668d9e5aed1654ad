"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024): a policy from completions that were good or not, unpaired."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textrl_env.agents.offline.kto_config import KTOConfig
from textrl_env.agents.offline.loop import Metrics, train_on_rows
from textrl_env.agents.offline.losses import kto_loss
from textrl_env.agents.offline.sequences import Example, encode_example, fixed_logprobs, sequence_logprobs
from textrl_env.data.text import pad_id
from textrl_env.errors import InputError
from textrl_env.training.checkpoints import CheckpointSaver


def train_kto(
    model: Any,
    tokenizer: Any,
    verdicts: Sequence[Mapping[str, Any]],
    config: KTOConfig,
    *,
    reference: Any = None,
    log_dir: str | Path | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    saver: CheckpointSaver | None = None,
    resume: Path | None = None,
) -> Metrics:
    """Trains a causal LM in place on judged completions; dropout stays off.

    How far the policy is from the reference (z_0) is estimated in every step on prompts with the completion of the
    next row, which says nothing of that prompt.

    Args:
        model, tokenizer, reference, log_dir, seed, should_stop, saver, resume: as for
            `textrl_env.agents.offline.dpo.train_dpo`.
        verdicts: rows with `prompt`, `completion` and `label` (True: desirable), as TRL names them, and optionally
            `where`; at least 2.
        config: β, weights, steps and so on.

    Returns:
        of the last step: `loss`, `kl` (z_0), and TRL's `rewards/chosen` and `rewards/rejected`, the mean of β times
        the log-ratio of desirable and of undesirable completions, where the step had any.

    Raises:
        InputError: fewer than two rows, a label that is not True or False or a row longer than the context, named.
    """
    if len(verdicts) < 2:
        raise InputError(f"KTO compares with other rows' completions and needs two rows or more, got {len(verdicts)}")
    for index, row in enumerate(verdicts):
        if row["label"] not in (True, False):
            raise InputError(f"{row.get('where', f'row {index}')}: label must be True or False, got {row['label']!r}")
    model.eval()
    reference = model if reference is None else reference.eval()
    limit = reference.config.get_text_config().max_position_embeddings
    encode = partial(
        encode_example, tokenizer, column="completion", kind="row", max_length=limit,
        max_new_tokens=config.max_new_tokens,
    )  # fmt: skip
    own = [encode(row, index=index) for index, row in enumerate(verdicts)]
    foreign = [_with_completion(one, other, limit) for one, other in zip(own, [*own[1:], own[0]], strict=True)]
    scored = {"fill": pad_id(tokenizer), "vocab_size": len(tokenizer)}
    logprobs = fixed_logprobs(reference, [*own, *foreign], batch_size=2 * config.batch_size, **scored)
    ref_logprobs = logprobs.view(2, -1).to(model.device)
    labels = torch.tensor([bool(row["label"]) for row in verdicts], device=model.device)

    def loss_of(rows: list[int]) -> tuple[Tensor, Metrics]:
        with torch.no_grad():
            away = sequence_logprobs(model, [foreign[row] for row in rows], **scored) - ref_logprobs[1, rows]
            kl = away.mean().clamp_min(0)
        log_ratios = sequence_logprobs(model, [own[row] for row in rows], **scored) - ref_logprobs[0, rows]
        desirable = labels[rows]
        loss = kto_loss(
            log_ratios, desirable, kl, beta=config.beta, desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight,
        )  # fmt: skip
        metrics = {"kl": float(kl)}
        for name, kind in (("rewards/chosen", desirable), ("rewards/rejected", ~desirable)):
            if kind.any():
                metrics[name] = config.beta * float(log_ratios.detach()[kind].mean())
        return loss, metrics

    rows = [(one.ids, other.ids, label) for one, other, label in zip(own, foreign, labels.tolist(), strict=True)]
    return train_on_rows(
        model, rows, loss_of, config, description="KTO", log_dir=log_dir, seed=seed, should_stop=should_stop,
        saver=saver, resume=resume,
    )  # fmt: skip


def _with_completion(example: Example, other: Example, limit: int) -> Example:
    """The prompt of one example with the completion of another, cut to the model's context."""
    ids = example.ids[: example.prompt_length] + other.ids[other.prompt_length :]
    return Example(ids[:limit], example.prompt_length)
