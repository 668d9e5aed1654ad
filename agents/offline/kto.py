"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024): a policy from completions that were good or not, unpaired."""

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import torch
from torch import Tensor

from textrl_env.agents.offline.configs import KTOConfig
from textrl_env.agents.offline.loop import RowRun, train_on_rows
from textrl_env.agents.offline.rows import encode_rows, read_verdict
from textrl_env.agents.offline.sequences import TokenizedRow, reference_logprobs, sequence_logprobs
from textrl_env.data import OnBadRow
from textrl_env.data.text import pad_id
from textrl_env.errors import InputError
from textrl_env.lm import check_fits, context_length
from textrl_env.lm.forward import require_causal
from textrl_env.training import Metrics


def kto_loss(
    log_ratios: Tensor,
    desirable: Tensor,
    kl: Tensor,
    *,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, eq. 8), mean over completions.

    loss = λ (1 - σ(β (log-ratio - kl))) for a desirable completion, λ (1 - σ(β (kl - log-ratio))) for another

    Args:
        log_ratios: (B,), of the completions.
        desirable: (B,) bool.
        kl: z_0, how far the policy is from the reference on completions of other prompts, 0 or more; no gradient.
        beta: how fast gains and losses saturate, above 0.
        desirable_weight: λ of desirable completions.
        undesirable_weight: λ of the others.
    """
    weights = torch.where(desirable, desirable_weight, undesirable_weight)
    # A row of weight 0 has no say, nor a gradient, were its log-ratio not finite.
    gain = beta * (torch.where(weights != 0, log_ratios, 0.0) - kl.detach())
    value = torch.sigmoid(torch.where(desirable, gain, -gain))
    return (weights * (1 - value)).mean()


def train_kto(
    model: Any,
    tokenizer: Any,
    verdicts: Iterable[Mapping[str, Any]],
    config: KTOConfig,
    *,
    reference: Any = None,
    on_bad_row: OnBadRow = "error",
    **run: Unpack[RowRun],
) -> Metrics:
    """Trains a causal LM in place on judged completions; dropout stays off.

    How far the policy is from the reference (z_0) is estimated in every step on prompts with the completion of the
    next row, which says nothing of that prompt.

    Args:
        model: a causal LM of transformers; its parameters that need gradients are trained.
        tokenizer: its tokenizer.
        verdicts: rows with `prompt`, `completion` and `label` (True: desirable), as TRL names them, texts or messages,
            and optionally `where`; at least 2, in any container that `textrl_env.data.iterate_rows` reads.
        config: β, weights, steps and so on.
        reference: the causal LM to stay near; by default the model as it is at the start.
        on_bad_row: `"error"`, or `"skip"` to leave out bad rows and those longer than the context, with a warning.
        **run: `log_dir`, `seed`, `should_stop`, `saver` and `resume`, see `RowRun`.

    Returns:
        the last step's `loss`, `kl` (z_0), and TRL's `rewards/chosen` and `rewards/rejected`, the mean of β times the
        log-ratio of desirable and of undesirable completions, where the step had any.

    Raises:
        InputError: fewer than two rows, or bad ones (a label that is not True or False, longer than the context), by
            place; or a tokenizer with tokens that the model has no embedding for.
    """
    require_causal(model, role="the model")
    reference = model if reference is None else reference
    check_fits(model, tokenizer)
    check_fits(reference, tokenizer, name="the reference model")
    limit = context_length(reference)
    examples = encode_rows(
        tokenizer,
        verdicts,
        read_verdict,
        name="verdict",
        max_length=limit,
        max_new_tokens=config.max_new_tokens,
        on_bad_row=on_bad_row,
    )
    if len(examples) < 2:
        raise InputError(f"KTO compares with other rows' completions and needs two rows or more, got {len(examples)}")
    model.eval()
    reference.eval()
    sequences = [row.sequences[0] for row in examples]
    foreign_rows = [
        _swap_completion(sequence, neighbour, limit)
        for sequence, neighbour in zip(sequences, [*sequences[1:], sequences[0]], strict=True)
    ]
    padding = {"fill": pad_id(tokenizer), "vocab_size": len(tokenizer)}
    logprobs = reference_logprobs(reference, [*sequences, *foreign_rows], batch_size=2 * config.batch_size, **padding)
    ref_logprobs = logprobs.view(2, -1).to(model.device)
    labels = torch.tensor([bool(row.label) for row in examples], device=model.device)

    def loss_of(rows: list[int]) -> tuple[Tensor, Metrics]:
        with torch.no_grad():
            drift = sequence_logprobs(model, [foreign_rows[row] for row in rows], **padding) - ref_logprobs[1, rows]
            kl = drift.mean().clamp_min(0)
        log_ratios = sequence_logprobs(model, [sequences[row] for row in rows], **padding) - ref_logprobs[0, rows]
        desirable = labels[rows]
        loss = kto_loss(
            log_ratios,
            desirable,
            kl,
            beta=config.beta,
            desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight,
        )
        metrics = {"kl": float(kl)}
        for name, mask in (("rewards/chosen", desirable), ("rewards/rejected", ~desirable)):
            if mask.any():
                metrics[name] = config.beta * float(log_ratios.detach()[mask].mean())
        return loss, metrics

    identity = [
        (sequence.ids, foreign.ids, label)
        for sequence, foreign, label in zip(sequences, foreign_rows, labels.tolist(), strict=True)
    ]
    return train_on_rows(
        model,
        identity,
        loss_of,
        config,
        description="KTO",
        **run,
    )


def _swap_completion(row: TokenizedRow, neighbour: TokenizedRow, limit: int | None) -> TokenizedRow:
    """Joins the prompt of one row with the completion of another, cut to the model's context."""
    ids = row.ids[: row.prompt_length] + neighbour.ids[neighbour.prompt_length :]
    return TokenizedRow(ids[:limit], row.prompt_length)
