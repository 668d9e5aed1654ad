"""Exact facts about worlds that are small enough to enumerate every completion."""

import numpy as np

from textrl_env.mdp import RewardCallable
from textrl_env.oracle import Ints, PrefixTree, evaluate, prefix_tree, uniform_policy
from textrl_env.worlds.world import World


def completion_tree(world: World, prompt: str, *, reward: RewardCallable | None = None) -> PrefixTree:
    """All completions of a prompt with their scores, for `textrl_env.oracle.soft_dp`.

    Args:
        world, prompt: whose completions; as few as `textrl_env.oracle.soft_dp.prefix_tree` takes (InputError).
        reward: `(prompts, completions) -> scores`, the world's own by default.
    """
    tokenizer, paid = world.tokenizer, reward or world.reward

    def score(completions: Ints) -> list[float]:
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in completions.tolist()]
        return list(paid([prompt] * len(texts), texts))

    return prefix_tree(len(tokenizer), world.max_new_tokens, eos_id=tokenizer.eos_token_id, score=score)


def best_return(world: World, *, reward: RewardCallable | None = None) -> float:
    """The mean over prompts of the best completion's score, by looking at every completion."""
    return float(np.mean([best_score(completion_tree(world, prompt, reward=reward)) for prompt in world.prompts]))


def random_return(world: World, *, reward: RewardCallable | None = None) -> float:
    """The exact mean score of the policy that chooses every token, the end token among them, equally often."""
    return float(np.mean([random_score(completion_tree(world, prompt, reward=reward)) for prompt in world.prompts]))


def best_score(tree: PrefixTree) -> float:
    """The best completion's."""
    # What is unfinished has no score, and a score may be negative.
    return max(float(scores[end].max(initial=-np.inf)) for end, scores in zip(tree.ends, tree.scores, strict=True))


def random_score(tree: PrefixTree) -> float:
    """The expected one of a uniform policy."""
    uniform = uniform_policy(tree)
    return evaluate(tree, uniform, uniform, coef=0.0).score
