"""How far a causal LM has gone from the reference to the exact optimum, on a world that can be enumerated."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.oracle import evaluate, prefix_logprobs, solve
from textrl_env.worlds.exact import completion_tree
from textrl_env.worlds.world import World


@dataclass(frozen=True)
class Objectives:
    """E[score] - coef · KL(π ‖ π_ref) of three policies, mean over the prompts, exact.

    Attributes:
        policy: the one that was asked about.
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


class Gap:
    """The exact objectives of causal LMs on a world; trees, reference and optimum are computed once.

    Args:
        world: small enough to enumerate, see `textrl_env.oracle.soft_dp.prefix_tree`.
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

    def of(self, model: Any) -> Objectives:
        """Of a causal LM with the world's tokens."""
        levels = zip(self._trees, self._log_policies(model), self._log_reference, strict=True)
        totals = [evaluate(tree, policy, reference, coef=self.coef).objective for tree, policy, reference in levels]
        return Objectives(float(np.mean(totals)), self.reference, self.best)

    def _log_policies(self, model: Any) -> list[Any]:
        tokenizer = self.world.tokenizer
        prompts = [np.array(tokenizer.encode(prompt)) for prompt in self.world.prompts]
        return [
            prefix_logprobs(model, ids, tree, vocab_size=len(tokenizer))
            for ids, tree in zip(prompts, self._trees, strict=True)
        ]
