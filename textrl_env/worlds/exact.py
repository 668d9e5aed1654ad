"""Exact facts about worlds that are small enough to enumerate every completion, and about policies on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.data.text import decode_completion, encode_prompt
from textrl_env.mdp import RewardCallable, RewardSum
from textrl_env.oracle import PrefixTree, evaluate, prefix_tree, solve, uniform_policy
from textrl_env.worlds.world import World


def completion_tree(world: World, prompt: str, *, reward: RewardCallable | None = None) -> PrefixTree:
    """Builds the tree of all completions of a prompt with their scores, for `textrl_env.oracle`.

    Args:
        world: any.
        prompt: one of its prompts.
        reward: a function of prompts and completions, the world's own by default.

    Raises:
        InputError: there are more completions than `textrl_env.oracle.prefix_tree` takes.
    """
    tokenizer, reward = world.tokenizer, reward or world.reward

    def score(completions: npt.NDArray[np.int64]) -> list[float]:
        texts = [decode_completion(tokenizer, ids) for ids in completions.tolist()]
        return RewardSum.score_texts(reward, [prompt] * len(texts), texts)

    return prefix_tree(len(tokenizer), world.max_new_tokens, eos_id=tokenizer.eos_token_id, score=score)


def best_return(world: World, *, reward: RewardCallable | None = None) -> float:
    """Computes the mean over prompts of the best completion's score, by looking at every completion."""
    return float(np.mean([best_score(completion_tree(world, prompt, reward=reward)) for prompt in world.prompts]))


def random_return(world: World, *, reward: RewardCallable | None = None) -> float:
    """Computes the exact mean score of the policy that chooses every token, the end token among them, equally often."""
    return float(np.mean([random_score(completion_tree(world, prompt, reward=reward)) for prompt in world.prompts]))


def best_score(tree: PrefixTree) -> float:
    """Returns the best completion's score."""
    # What is unfinished has no score, and a score may be negative.
    return max(float(scores[end].max(initial=-np.inf)) for end, scores in zip(tree.ends, tree.scores, strict=True))


def random_score(tree: PrefixTree) -> float:
    """Returns the expected score of a uniform policy."""
    uniform = uniform_policy(tree)
    return evaluate(tree, uniform, uniform, coef=0.0).score


@dataclass(frozen=True)
class Objectives:
    """The objective E[score] - coef · KL(π ‖ π_ref) of three policies, mean over the prompts, exact.

    Attributes:
        policy: the policy in question.
        reference: π_ref.
        best: the optimum π*, which no policy exceeds.
    """

    policy: float
    reference: float
    best: float

    @property
    def fraction(self) -> float:
        """(J - J_ref) / (J* - J_ref): 0 at the reference, 1 at the optimum, below 0 where training did harm."""
        return (self.policy - self.reference) / (self.best - self.reference)


class OptimumGap:
    """Exact objectives of causal LMs on a world; trees, reference and optimum are computed once.

    Args:
        world: small enough to enumerate, see `textrl_env.oracle.prefix_tree`.
        reference: a causal LM of transformers; it must not change afterwards.
        coef: score given up per nat, above 0.
    """

    def __init__(self, world: World, reference: Any, *, coef: float) -> None:
        self.world, self.coef = world, coef
        self._trees = [completion_tree(world, prompt) for prompt in world.prompts]
        self._log_reference = self._log_policies(reference)
        pairs = list(zip(self._trees, self._log_reference, strict=True))
        self.reference = float(np.mean([evaluate(tree, log, log, coef=coef).objective for tree, log in pairs]))
        self.best = float(np.mean([solve(tree, log, coef=coef).objective for tree, log in pairs]))

    def measure(self, model: Any) -> Objectives:
        """Computes the objectives of a causal LM with the world's tokens."""
        levels = zip(self._trees, self._log_policies(model), self._log_reference, strict=True)
        totals = [evaluate(tree, policy, reference, coef=self.coef).objective for tree, policy, reference in levels]
        return Objectives(float(np.mean(totals)), self.reference, self.best)

    def _log_policies(self, model: Any) -> list[Any]:
        from textrl_env.oracle import prefix_logprobs  # It loads torch, which worlds do without.

        tokenizer = self.world.tokenizer
        prompts = [np.array(encode_prompt(tokenizer, prompt)) for prompt in self.world.prompts]
        return [
            prefix_logprobs(model, ids, tree, vocab_size=len(tokenizer))
            for ids, tree in zip(prompts, self._trees, strict=True)
        ]
