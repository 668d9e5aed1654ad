"""A rung of the ladder: a tiny task, its exact values, and a reference policy that is a table."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from textrl_env.agent_checker.completions import Completions, best_of_n
from textrl_env.data.text import Tokenizer, decode_completion, encode_prompt
from textrl_env.errors import require_at_least, require_count, require_within
from textrl_env.mdp import KLShaping, RewardCallable, RewardSum, TextGenVectorEnv
from textrl_env.oracle import PrefixTree, evaluate, prefix_tree, solve, uniform_policy

Floats = npt.NDArray[np.float64]
KLMode = Literal["reference", "sampled", "exact"]


class BigramReference:
    """A reference policy that is a table (`textrl_env.mdp.Reference`), so that its distributions are known exactly.

    Args:
        logits: (V, V), row i for the token after token i; each row is normalised.
    """

    def __init__(self, logits: Floats) -> None:
        self.logprobs: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def decoder(self) -> "BigramReference":
        """Returns the table itself, which needs no cache."""
        return self

    def next_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], live: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Returns log π_ref(·|s): (N, L) -> (N, V)."""
        return self.logprobs[input_ids[:, -1]].astype(np.float32)

    def completion_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], n_tokens: int
    ) -> npt.NDArray[np.float32]:
        """Returns log π_ref of the last `n_tokens` tokens of each row: (N, L) -> (N, n_tokens)."""
        return self.logprobs[input_ids[:, -n_tokens - 1 : -1], input_ids[:, -n_tokens:]].astype(np.float32)

    def log_policy(self, last_prompt_token: int, tree: PrefixTree) -> list[Floats]:
        """Returns the log-probabilities on every prefix of a prompt's tree, for `textrl_env.oracle`."""
        first = self.logprobs[[last_prompt_token]]
        return [first, *(self.logprobs[prefixes[:, -1]] for prefixes in tree.prefixes[1:])]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rung:
    """A task small enough to enumerate, and the bar an agent has to clear on it.

    The objective is E[score] - coef · KL(π ‖ π_ref), the mean over the prompts, of the policy that the agent samples
    from; with coef 0 it is the mean score.
    """

    name: str
    asks: str
    """Skill that an agent needs here and that the rungs below did not ask for."""
    cause: str
    """The likely fault of an agent that passes the rungs below and fails here."""
    prompts: list[str]
    """Distinct prompts; each counts the same."""
    reward: RewardCallable
    """`(prompts, completions) -> scores`."""
    tokenizer: Tokenizer
    """V tokens."""
    max_new_tokens: int
    """The length limit; V to this power is the size of the task."""
    timesteps: int
    """Tokens that the agent may train on."""
    coef: float = 0.0
    """Score given up per nat of KL to the reference; 0 or more."""
    reference_logits: Floats | None = field(default=None, repr=False)
    """(V, V) of the `BigramReference`; None makes it uniform."""
    share: float = 0.9
    """The pass mark: random + share · (oracle - random); in (0, 1)."""
    n: int = 4
    """Completions that best-of-n draws."""

    def __post_init__(self) -> None:
        require_count(1, max_new_tokens=self.max_new_tokens, timesteps=self.timesteps, n=self.n)
        require_at_least(0, coef=self.coef)
        # No agent that samples beats the oracle.
        require_within("(0, 1)", share=self.share)

    @cached_property
    def reference(self) -> BigramReference:
        """The policy that KL is measured from and best-of-n draws from."""
        vocab_size = len(self.tokenizer)
        logits = np.zeros((vocab_size, vocab_size)) if self.reference_logits is None else self.reference_logits
        return BigramReference(logits)

    @cached_property
    def completions(self) -> list[Completions]:
        """The completions of each prompt, with its score and its probability under the reference."""
        return [Completions.of(tree, log_reference) for tree, log_reference in self._trees]

    @cached_property
    def oracle(self) -> float:
        """The best objective of all policies."""
        if self.coef == 0:
            return float(np.mean([completions.scores.max() for completions in self.completions]))
        return float(np.mean([solve(tree, ref, coef=self.coef).objective for tree, ref in self._trees]))

    @cached_property
    def random(self) -> float:
        """The objective of choosing every token equally often."""
        values = [evaluate(tree, uniform_policy(tree), ref, coef=self.coef).objective for tree, ref in self._trees]
        return float(np.mean(values))

    @cached_property
    def best_of_n(self) -> float:
        """The objective of the best of n completions drawn from the reference."""
        values = [best_of_n(completions, self.n, coef=self.coef).objective for completions in self.completions]
        return float(np.mean(values))

    @property
    def mark(self) -> float:
        """The objective that an agent has to reach."""
        return self.random + self.share * (self.oracle - self.random)

    def training_env(self, *, num_envs: int, autoreset_mode: AutoresetMode | str, kl_mode: KLMode) -> TextGenVectorEnv:
        """Makes the environment that an agent trains in; KL shaping has coefficient 0 where the objective has none."""
        return self._env(num_envs, autoreset_mode, kl=KLShaping(self.coef, kl_mode), reference=self.reference)

    def playing_env(self, num_envs: int) -> TextGenVectorEnv:
        """Makes the environment that a trained agent plays in: its actions are plain tokens."""
        return self._env(num_envs, AutoresetMode.DISABLED)

    def _env(self, num_envs: int, autoreset_mode: AutoresetMode | str, **options: Any) -> TextGenVectorEnv:
        return TextGenVectorEnv(
            self.prompts,
            self.reward,
            self.tokenizer,
            num_envs=num_envs,
            autoreset_mode=autoreset_mode,
            max_new_tokens=self.max_new_tokens,
            **options,
        )

    @cached_property
    def _trees(self) -> list[tuple[PrefixTree, list[Floats]]]:
        """The completions of each prompt, and the reference's log-probabilities on them."""
        trees = [self._tree(prompt) for prompt in self.prompts]
        last = [encode_prompt(self.tokenizer, prompt)[-1] for prompt in self.prompts]
        return [(tree, self.reference.log_policy(token, tree)) for tree, token in zip(trees, last, strict=True)]

    def _tree(self, prompt: str) -> PrefixTree:
        def score(completions: npt.NDArray[np.int64]) -> list[float]:
            texts = [decode_completion(self.tokenizer, ids) for ids in completions.tolist()]
            return RewardSum.score_texts(self.reward, [prompt] * len(texts), texts)

        end = self.tokenizer.eos_token_id
        return prefix_tree(len(self.tokenizer), self.max_new_tokens, eos_id=end, score=score)
