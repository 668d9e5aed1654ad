"""The log of a training run: the numbers of an update by tag, and the files that they are written to.

Tags are Stable-Baselines3's, and TRL's for the parts of the objective; the logger is Stable-Baselines3's, with
TensorBoard, CSV, JSON lines and stdout.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger
from torch import Tensor

from textrl_env.agents.maths import masked_mean
from textrl_env.agents.on_policy.event_file import EventLog
from textrl_env.agents.on_policy.log_files import ROWS, SAMPLES, CSVRows, JSONRows, read_rows, trim_lines
from textrl_env.agents.rollout import Rollout


def run_logger(
    folder: str | Path | None,
    *,
    verbose: int,
    after: int = 0,
    counted_by: str = "time/iterations",
    n_lines: Mapping[str, int] | None = None,
) -> Logger:
    """Opens a logger into a folder: `progress.csv`, `progress.jsonl` and TensorBoard events.

    Args:
        folder: files of an earlier run in it are replaced; None writes no files.
        verbose: 1 also prints each row to stdout.
        after: rows of the first `after` updates of the earlier run stay, where this one goes on.
        counted_by: the column that numbers updates.
        n_lines: of the earlier run's files, the lines that stay, by name, where more is known than `after`.
    """
    writers: list[KVWriter] = [HumanOutputFormat(sys.stdout)] if verbose else []
    if folder is not None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        n_lines = n_lines or {}
        rows = read_rows(path / ROWS)[: n_lines.get(ROWS)]
        earlier_rows = [row for row in rows if 0 < row.get(counted_by, 0) <= after]
        trim_lines(path / SAMPLES, n_lines.get(SAMPLES, 0))
        # The table first: the lines are what both are made from.
        tables = [CSVRows(path / "progress.csv", earlier_rows), JSONRows(path / ROWS, earlier_rows)]
        writers += [*tables, EventLog(str(path))]
    return Logger(str(folder) if folder is not None else None, writers)


def flush_log(logger: Logger) -> None:
    """Returns once the rows of a log are on the disk; a checkpoint that is saved then can count on them."""
    for writer in logger.output_formats:
        if isinstance(writer, JSONRows):
            writer.flush()


class SilentLogger(Logger):
    """The logger of a process that leaves writing to another: numbers can be recorded and read, and make no rows."""

    def __init__(self) -> None:
        super().__init__(None, [])

    def dump(self, step: int = 0) -> None:
        """Ends the row, which nobody is shown."""
        for numbers in (self.name_to_value, self.name_to_count, self.name_to_excluded):
            numbers.clear()


def rollout_tags(rollout: Rollout, *, kl_coef: float) -> dict[str, float]:
    """Computes the numbers of a rollout, and names the KL coefficient that it was paid with."""
    lengths = rollout.completion_mask.sum(dim=1).float()
    returns = torch.where(rollout.completion_mask, rollout.rewards, 0.0).sum(dim=1)
    return {
        "rollout/ep_rew_mean": float(returns.mean()),
        "rollout/ep_len_mean": float(lengths.mean()),
        "objective/scores": float(rollout.scores.mean()),
        "objective/rlhf_reward": float(returns.mean()),
        "objective/non_score_reward": float((returns - rollout.scores).mean()),
        "objective/kl": float(rollout.kl.mean()),
        "objective/kl_coef": kl_coef,
        # Minus the log-probability of what was sampled: an unbiased estimate of the entropy per token.
        "objective/entropy": float(masked_mean(-rollout.logprobs, rollout.completion_mask)),
    }


def critic_tags(values: Tensor | None, returns: Tensor | None, mask: Tensor) -> dict[str, float]:
    """Computes the numbers of what a critic said and should have said, (B, C) each; none without a critic."""
    if values is None or returns is None:
        return {}
    tags = {"train/value_mean": float(masked_mean(values, mask))}
    if (share := explained_variance(values, returns, mask)) is not None:
        tags["train/explained_variance"] = share
    return tags


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float | None:
    """Computes 1 - Var(returns - values) / Var(returns) over counted tokens; None where all returns are equal.

    1 is perfect, 0 no better than a constant.
    """
    targets = returns[mask]
    variance = targets.var(correction=0)
    residual = (targets - values[mask]).var(correction=0)
    return float(1 - residual / variance) if variance > 0 else None
