"""The data of every stage for which a user brings none: the support desk's, drawn for each use by a seed of its own.

A run's seed is moved on by a thousand for each use. What a policy is watched and compared on is of the held-out split,
which no training draws from.
"""

from collections.abc import Callable
from typing import Any

from textrl_env.data import PromptDataset
from textrl_env.errors import shift_seed
from textrl_env.worlds import support_desk

NAME = "the support desk"
PREFERENCES, TRAINING, EVALUATION, WATCHING, REPLIES = 1000, 2000, 3000, 4000, 4000
"""Distances from a run's seed; replies are to prompts of the training split, watching is on held-out ones."""

gold_reward: Callable[..., list[float]] = support_desk.gold_reward
"""Scores completions of these prompts in [0, 1]."""
gold_terms: Callable[[str, str], dict[str, float]] = support_desk.gold_terms
"""Splits the gold reward of one completion into its terms."""
parse_request = support_desk.parse_prompt
"""Reads what a prompt asks for (problem, product, harmful); raises InputError for a prompt that is not of these."""


def draw_demonstrations(n: int, *, seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Returns n demonstrations to train on and 300 held-out ones, rows with `prompt` and `completion`."""
    heldout = support_desk.demonstrations(300, seed=seed, split="heldout")
    return support_desk.demonstrations(n, seed=seed), heldout


def draw_requests(n: int, *, seed: int) -> list[dict[str, Any]]:
    """Returns n rows whose replies are ranked: `prompt`, and what it is about (problem, product, harmful)."""
    return support_desk.prompts(n, seed=shift_seed(seed, PREFERENCES))


def draw_training_prompts(n: int, *, seed: int) -> PromptDataset:
    """Returns n prompts to train a policy on."""
    return _as_dataset(support_desk.prompts(n, seed=shift_seed(seed, TRAINING)))


def draw_watching_prompts(*, seed: int) -> PromptDataset:
    """Returns 64 held-out prompts on which a policy is watched while it trains."""
    return _as_dataset(support_desk.prompts(64, seed=shift_seed(seed, WATCHING), split="heldout"))


def draw_evaluation_prompts(n: int, *, seed: int) -> PromptDataset:
    """Returns n held-out prompts on which policies are compared."""
    return _as_dataset(support_desk.prompts(n, seed=shift_seed(seed, EVALUATION), split="heldout"))


def draw_reply_prompts(n: int, *, seed: int) -> PromptDataset:
    """Returns n prompts whose replies a constitution judges or revises."""
    return _as_dataset(support_desk.prompts(n, seed=shift_seed(seed, REPLIES)))


def draw_examined_prompts(n: int, *, seed: int) -> PromptDataset:
    """Returns n prompts on which models are examined before training."""
    return _as_dataset(support_desk.prompts(n, seed=seed))


def _as_dataset(rows: list[dict[str, Any]]) -> PromptDataset:
    return PromptDataset.of([row["prompt"] for row in rows])
