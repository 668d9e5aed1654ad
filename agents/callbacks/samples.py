"""The texts of a rollout: samples in TensorBoard and in `samples.jsonl`, and another reward that judges them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor

from textrl_env.agents.rollout import Rollout
from textrl_env.data.text import as_completion, completion_text
from textrl_env.errors import require_count
from textrl_env.mdp import RewardCallable, RewardSum, TextGenTask

FILE = "samples.jsonl"


def rollout_texts(rollout: Rollout, task: TextGenTask) -> tuple[list[Any], list[Any]]:
    """Returns B prompts as the dataset has them and B completions, in the form that reward functions take."""
    prompts = [task.prompts.prompts[index] for index in rollout.prompt_index.tolist()]
    completions = [
        as_completion(prompt, task.completion_text(ids, task.finish_reason(ids)))
        for prompt, ids in zip(prompts, _rows_of(rollout.completion_ids, rollout.completion_mask), strict=True)
    ]
    return prompts, completions


def _rows_of(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """The ids of each row where the mask is True."""
    return [row[row_mask.bool()].tolist() for row, row_mask in zip(ids, mask, strict=True)]


def record_samples(logger: Logger, tag: str, rows: Sequence[Mapping[str, Any]], *, n_updates: int) -> None:
    """Puts rows of columns and texts or numbers under `tag` as a table for TensorBoard, and appends them to the file.

    Each line of the file has `tag`, `n_updates` and the row's columns. A logger without a folder writes no file.
    """
    # Numbers alone go to the other outputs: a text would make a column of tables in progress.csv.
    logger.record(tag, markdown_table(rows), exclude=("stdout", "log", "json", "csv"))
    if logger.dir is not None:
        lines = (json.dumps({"tag": tag, "n_updates": n_updates, **row}, ensure_ascii=False) for row in rows)
        with (Path(logger.dir) / FILE).open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Renders rows of the same columns as a table in Markdown, which TensorBoard shows."""
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *cells))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # In a table's cell a bar ends the cell and a line break the row; a model may write both, and HTML too.
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("\n", " ↵ ")):
        text = text.replace(sign, entity)
    return text


class LogSamples(BaseCallback):
    """Logs the first completions of a rollout with their scores and KL every few updates, as `rollout/samples`.

    Args:
        every_updates: updates between samples, at least 1.
        n: completions, at least 1.
    """

    def __init__(self, every_updates: int = 10, n: int = 4) -> None:
        super().__init__()
        require_count(1, every_updates=every_updates, n=n)
        self.every_updates, self.n = every_updates, n

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        if algorithm.n_updates % self.every_updates:
            return
        rollout = algorithm.rollout
        prompts, completions = rollout_texts(rollout, algorithm.env.task)
        rows = [
            {"prompt": prompt, "completion": completion_text(completion), "score": score, "kl": kl}
            for prompt, completion, score, kl in zip(
                prompts, completions, rollout.scores.tolist(), rollout.kl.tolist(), strict=True
            )
        ]
        record_samples(self.logger, "rollout/samples", rows[: self.n], n_updates=algorithm.n_updates)


class TrackReward(BaseCallback):
    """Logs the mean of another reward function on every rollout, as `objective/NAME`; training never sees it.

    With the gold reward of a world beside the proxy that is trained on, over-optimisation shows in the curves.

    Args:
        name: of the tag.
        reward: a reward function, which receives what the environment's receive.

    Raises:
        InputError: as training starts, a parameter of the function that nothing fills.
    """

    def __init__(self, name: str, reward: RewardCallable) -> None:
        super().__init__()
        self.name, self.reward = name, reward

    def _on_training_start(self) -> None:
        algorithm: Any = self.model
        task = algorithm.env.task
        self._rewards = RewardSum(self.reward, columns=task.prompts.columns)
        self._rewards.check_lengths(task.tokenizer, task.length)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        algorithm: Any = self.model
        rollout, task = algorithm.rollout, algorithm.env.task
        indices = rollout.prompt_index.tolist()
        completions = _rows_of(rollout.completion_ids, rollout.completion_mask)
        terms = task.score(
            indices,
            [task.prompts.prompts[index] for index in indices],
            list(zip(_rows_of(rollout.prompt_ids, rollout.prompt_mask), completions, strict=True)),
            [task.finish_reason(ids) for ids in completions],
            rewards=self._rewards,
        )
        self.logger.record(f"objective/{self.name}", float(np.mean(terms["score"])))
