"""Exact facts about worlds that are small enough to enumerate every completion."""

import numpy as np

from textrl_env.oracle import PrefixTree, evaluate, prefix_tree, uniform_policy
from textrl_env.rewards import RewardCallable
from textrl_env.worlds.world import World


def completion_tree(world: World, prompt: str, *, reward: RewardCallable | None = None) -> PrefixTree:
    """All completions of a prompt with their scores, for `textrl_env.oracle`.

    Args:
        world, prompt: whose completions; at most 10^6 unfinished ones (InputError).
        reward: `(prompts, completions) -> scores`, the world's own by default.
    """
    tokenizer, paid = world.tokenizer, reward or world.reward

    def score(completions: list[list[int]]) -> list[float]:
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in completions]
        return list(paid([prompt] * len(texts), texts))

    return prefix_tree(len(tokenizer), world.max_new_tokens, eos_id=tokenizer.eos_token_id, score=score)


def best_return(world: World, *, reward: RewardCallable | None = None) -> float:
    """The mean over prompts of the best completion's score, by looking at every completion."""
    trees = [completion_tree(world, prompt, reward=reward) for prompt in world.prompts]
    # What is unfinished has no score, and a score may be negative.
    finished = [
        [np.where(*level, -np.inf).max() for level in zip(tree.ends, tree.scores, strict=True)] for tree in trees
    ]
    return float(np.mean([max(levels) for levels in finished]))


def random_return(world: World, *, reward: RewardCallable | None = None) -> float:
    """The exact mean score of the policy that chooses every token, the end token among them, equally often."""
    trees = [completion_tree(world, prompt, reward=reward) for prompt in world.prompts]
    policies = [uniform_policy(tree) for tree in trees]
    scores = [evaluate(tree, each, each, coef=0.0).score for tree, each in zip(trees, policies, strict=True)]
    return float(np.mean(scores))
