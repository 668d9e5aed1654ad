"""The loop that every training on rows shares: random rows, a loss, a step of AdamW, a line in the log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textrl_env.agents.row_training_config import RowTrainingConfig
from textrl_env.agents.run_log import run_logger
from textrl_env.finite import require_finite
from textrl_env.master_weights import adamw
from textrl_env.one_cycle import one_cycle
from textrl_env.progress import progress_bar
from textrl_env.seeded import seeded

Metrics = dict[str, float]
Loss = Callable[[list[int]], tuple[Tensor, Metrics]]


def train_on_rows(
    model: Any,
    n_rows: int,
    loss_of: Loss,
    config: RowTrainingConfig,
    *,
    description: str,
    heldout: Callable[[], Metrics] = dict,
    log_dir: str | Path | None = None,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Metrics:
    """Trains a model in place, in the mode (train or eval) that it is in.

    Args:
        model: its parameters that need gradients are trained.
        n_rows: rows to draw from, with replacement.
        loss_of: the loss of some rows and further numbers to log.
        config: learning rate, steps and so on.
        description: of the progress bar.
        heldout: numbers to log ten times on the way.
        log_dir: for `progress.jsonl`, `progress.csv` and TensorBoard.
        seed: of the order of the rows and of dropout.
        should_stop: asked before every step; True ends the training early, with the model as it is.
    Returns:
        `loss` and the further numbers of the last step; NaN as the loss where no step was made.
    """
    logger = run_logger(log_dir, verbose=0)
    generator = torch.Generator().manual_seed(seed)
    optimizer = adamw(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = one_cycle(
        optimizer, peak=config.learning_rate, n_steps=config.n_steps, warmup_fraction=config.warmup_fraction
    )
    last: Metrics = {"loss": float("nan")}
    with seeded(seed, model.device), progress_bar(description, config.n_steps) as advance:
        for step in range(config.n_steps):
            if should_stop():
                break
            rows = torch.randint(n_rows, (config.batch_size,), generator=generator)
            loss, metrics = loss_of(rows.tolist())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm))
            last = {"loss": float(loss.detach()), **metrics}
            require_finite(last["loss"], norm, at=f"step {step + 1}, rows {rows.tolist()}")
            optimizer.step()
            schedule.step()
            advance(note=f"loss {last['loss']:.3f}")
            logger.record("step", step + 1)
            measured = heldout() if (step + 1) % max(1, config.n_steps // 10) == 0 else {}
            for name, value in (last | measured).items():
                logger.record(name, value)
            logger.dump(step=step + 1)
    logger.close()
    return last
