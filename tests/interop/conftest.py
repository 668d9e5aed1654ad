"""A world of 13 completions, small enough for its exact random and best scores, shared by the libraries' tests."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from textrl_env.oracle import evaluate
from textrl_env.worlds import EnumerableWorld


class Task(NamedTuple):
    """Environment arguments, and the exact mean score of random play and the best score there is."""

    arguments: dict[str, Any]
    random: float
    best: float


@pytest.fixture
def task() -> Task:
    world = EnumerableWorld(vocab_size=4, horizon=2, n_prompts=1)
    tree = world.tree(world.prompts[0])
    uniform = [np.full(scores.shape, -np.log(world.vocab_size)) for scores in tree.scores]
    arguments = {
        "prompts": world.prompts,
        "reward": world.reward,
        "tokenizer": world.tokenizer,
        "max_new_tokens": world.horizon,
    }
    best = max(scores[ends].max() for scores, ends in zip(tree.scores, tree.ends, strict=True))
    return Task(arguments, evaluate(tree, uniform, uniform, coef=1.0).score, float(best))
