"""Direct preference optimisation (Rafailov et al. 2023): a policy straight from pairs, without a reward model.

In the losses, log-ratios are log π(y|x) - log π_ref(y|x) of whole completions, in nats.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from textrl_env.agents.offline.configs import DPOConfig
from textrl_env.agents.offline.loop import RowRun, train_on_rows
from textrl_env.agents.offline.rows import EncodedRow, encode_rows, read_pair
from textrl_env.agents.offline.sequences import TokenizedRow, reference_logprobs, sequence_logprobs
from textrl_env.data import OnBadRow
from textrl_env.data.text import pad_id
from textrl_env.errors import InputError
from textrl_env.lm import check_fits, context_length
from textrl_env.lm.forward import require_causal
from textrl_env.training import Metrics


def dpo_loss(chosen: Tensor, rejected: Tensor, probability: Tensor, *, beta: float) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023, eq. 7), mean over pairs, in nats per pair.

    h = chosen - rejected;   loss = -p log σ(β h) - (1 - p) log σ(-β h)

    With p = 1 - ε it is the conservative loss for labels that are wrong with probability ε (Mitchell 2023).

    Args:
        chosen: log-ratios of the preferred completions, (M,).
        rejected: of the others, (M,).
        probability: p, how likely people prefer the chosen one, in [0, 1], (M,).
        beta: score given up per nat of KL, above 0.
    """
    h = beta * (chosen - rejected)
    return -(probability * logsigmoid(h) + (1 - probability) * logsigmoid(-h)).mean()


def ipo_loss(chosen: Tensor, rejected: Tensor, probability: Tensor, *, beta: float) -> Tensor:
    """Identity preference optimisation (Azar et al. 2023, eq. 17), mean over pairs.

    h = chosen - rejected;   loss = p (h - 1 / 2β)² + (1 - p) (h + 1 / 2β)², least at h = (2 p - 1) / 2β

    Where all labels agree the log-ratios stop at 1 / 2β instead of growing without end. Arguments as for `dpo_loss`;
    `beta` is the paper's τ.
    """
    h, target = chosen - rejected, 0.5 / beta
    return (probability * (h - target) ** 2 + (1 - probability) * (h + target) ** 2).mean()


PREFERENCE_LOSSES = {"sigmoid": dpo_loss, "ipo": ipo_loss}


@dataclass(frozen=True)
class TokenizedPairs:
    """M pairs of completions.

    Attributes:
        chosen, rejected: token ids.
        probability: (M,), how likely people prefer the chosen one.
        ref_logprobs: (M, 2), log π_ref of chosen and rejected.
    """

    chosen: list[TokenizedRow]
    rejected: list[TokenizedRow]
    probability: Tensor
    ref_logprobs: Tensor

    def identity(self) -> list[tuple[list[int], list[int], float]]:
        """Lists ids and probability of each pair, by which one training is told from another."""
        ids = ([row.ids for row in side] for side in (self.chosen, self.rejected))
        return list(zip(*ids, self.probability.tolist(), strict=True))


def train_dpo(
    model: Any,
    tokenizer: Any,
    preferences: Iterable[Mapping[str, Any]],
    config: DPOConfig,
    *,
    reference: Any = None,
    heldout: Iterable[Mapping[str, Any]] = (),
    on_bad_row: OnBadRow = "error",
    **run: Unpack[RowRun],
) -> Metrics:
    """Trains a causal LM in place on pairs; dropout stays off, so that it starts at the reference exactly.

    Args:
        model: a causal LM of transformers; its parameters that need gradients are trained.
        tokenizer: its tokenizer; V = `len(tokenizer)` tokens have probability.
        preferences: rows with `prompt`, `chosen` and `rejected`, texts or messages, and optionally `soft_label`, how
            likely people prefer the chosen one, in [0, 1] (1 where it is not given), or `tie`, and `where`
            (`file:line`) for messages; in any container that `textrl_env.data.iterate_rows` reads.
        config: loss, β, steps and so on.
        reference: the causal LM to stay near; by default the model as it is at the start. Its log-probabilities are
            computed once.
        heldout: rows measured at the end and ten times on the way, logged as `heldout/...`.
        on_bad_row: `"error"`, or `"skip"` to leave out bad rows and those longer than the context, with a warning.
        **run: `log_dir`, `seed`, `should_stop`, `saver` and `resume`, see `RowRun`.

    Returns:
        `loss`, and TRL's `rewards/chosen`, `rewards/rejected`, `rewards/margins` (β times log-ratios, their
        difference) and `rewards/accuracies` (share of pairs with a margin above 0), of the held-out pairs, or of the
        last step where nothing is held out.

    Raises:
        InputError: no pairs, or bad rows (a wrong type, a label out of range, longer than the context), by place; or a
            tokenizer with tokens that the model has no embedding for.
    """
    reference = model if reference is None else reference
    require_causal(model, role="the model")
    check_fits(model, tokenizer)
    check_fits(reference, tokenizer, name="the reference model")
    examples, heldout_examples = (
        encode_rows(
            tokenizer,
            rows,
            read_pair,
            name="preference",
            max_length=context_length(reference),
            max_new_tokens=config.max_new_tokens,
            on_bad_row=on_bad_row,
        )
        for rows in (preferences, heldout)
    )
    if not examples:
        raise InputError("no preferences to train on")
    model.eval()
    reference.eval()
    pairs, heldout_pairs = (
        _make_pairs(reference, tokenizer, rows, config=config) for rows in (examples, heldout_examples)
    )
    compute_loss = partial(_compute_loss, model, tokenizer, config=config)

    @torch.no_grad()
    def measure_heldout() -> Metrics:
        n, totals = len(heldout_pairs.chosen), dict[str, float]()
        for start in range(0, n, config.batch_size):
            part = list(range(start, min(start + config.batch_size, n)))
            loss, metrics = compute_loss(heldout_pairs, part)
            for name, value in ({"loss": float(loss)} | metrics).items():
                totals[name] = totals.get(name, 0.0) + value * len(part) / n
        return totals

    metrics = train_on_rows(
        model,
        pairs.identity(),
        lambda rows: compute_loss(pairs, rows),
        config,
        description=f"DPO ({config.loss})",
        heldout=lambda: {f"heldout/{name}": value for name, value in measure_heldout().items()},
        **run,
    )
    return measure_heldout() or metrics


def _make_pairs(reference: Any, tokenizer: Any, rows: Sequence[EncodedRow], *, config: DPOConfig) -> TokenizedPairs:
    """Puts pairs side by side, with what the reference makes of them."""
    chosen, rejected = ([row.sequences[side] for row in rows] for side in (0, 1))
    labels = [row.label for row in rows]
    # A label of p says that the choice is wrong with probability 1 - p; smoothing flips it once more.
    probability = torch.tensor(labels) * (1 - 2 * config.label_smoothing) + config.label_smoothing
    logprobs = reference_logprobs(
        reference,
        [*chosen, *rejected],
        fill=pad_id(tokenizer),
        vocab_size=len(tokenizer),
        batch_size=2 * config.batch_size,
    )
    return TokenizedPairs(chosen, rejected, probability, logprobs.view(2, -1).T)


def _compute_loss(
    model: Any, tokenizer: Any, pairs: TokenizedPairs, rows: list[int], *, config: DPOConfig
) -> tuple[Tensor, Metrics]:
    """Computes the loss of some pairs, and TRL's numbers."""
    sequences = [side[row] for side in (pairs.chosen, pairs.rejected) for row in rows]
    logprobs = sequence_logprobs(model, sequences, fill=pad_id(tokenizer), vocab_size=len(tokenizer))
    chosen, rejected = logprobs.view(2, -1) - pairs.ref_logprobs[rows].T.to(logprobs.device)
    probability = pairs.probability[rows].to(logprobs.device)
    loss = PREFERENCE_LOSSES[config.loss](chosen, rejected, probability, beta=config.beta)
    margins = config.beta * (chosen - rejected).detach()
    return loss, {
        "rewards/chosen": config.beta * float(chosen.detach().mean()),
        "rewards/rejected": config.beta * float(rejected.detach().mean()),
        "rewards/margins": float(margins.mean()),
        "rewards/accuracies": float((margins > 0).float().mean()),
    }
