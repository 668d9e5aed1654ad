"""The options that every on-policy algorithm has: each is said once, here, and checked here."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.errors import InputError, require_above, require_at_least, require_count, require_seed, require_within
from textrl_env.lm import context_length
from textrl_env.mdp import Estimator, TextGenVectorEnv
from textrl_env.reference import FrozenReference

Schedule = Callable[[float], float]


@dataclass(eq=False, repr=False)
class OnPolicyOptions:
    """The policy, the environment and the options of an algorithm; the fields are the arguments of every algorithm."""

    policy: ActorCriticLM
    """The actor-critic LM; trained in place."""
    env: TextGenVectorEnv
    """In autoreset mode DISABLED."""
    _: KW_ONLY
    learning_rate: float | Schedule = 3e-4
    """Of Adam (on float32 copies where the policy is bfloat16); a number, or a function of the remaining progress (1 at
    the start, 0 at the end)."""
    n_episodes: int = 64
    """Completions per update. Where several processes train together, of all of them, and so is `batch_size`; their
    number must divide both, and a prompt's completions stay in one process."""
    group_size: int = 1
    """Completions per prompt; must divide `n_episodes`."""
    batch_size: int | None = None
    """Completions per minibatch; must divide `n_episodes`. None takes all of them at once."""
    microbatch_size: int | None = None
    """Completions per forward and backward pass of a process, to bound memory; gradients are those of the whole
    minibatch. None takes the minibatch at once."""
    n_epochs: int = 4
    """Passes over the completions of an update."""
    gamma: float = 1.0
    """Discount per token, in (0, 1]."""
    kl_loss_coef: float = 0.0
    """Weight of a KL term in the loss, beside or instead of the environment's KL shaping, 0 or more. There it has a
    gradient of its own and passes neither through advantages nor through the critic."""
    kl_loss_estimator: Estimator = "k2"
    """Of that term; `"k2"` has the exact gradient, `"k3"` is what GRPO uses, `"k1"` has none in expectation and is
    refused (see docs/kl_estimators.md)."""
    reference: FrozenReference | None = None
    """The frozen policy of that term."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm, above 0; inf leaves all as they are."""
    adam_eps: float = 1e-5
    """Added to Adam's root of the second moment, above 0. Steps shrink along parameters whose gradients are small
    beside it."""
    log_dir: str | Path | None = None
    """Folder for TensorBoard, `progress.csv` and `progress.jsonl`; None logs nowhere."""
    verbose: int = 0
    """1 also prints each logged update to stdout."""
    seed: int = 0
    """Of sampling, minibatch order and the environment."""

    def __post_init__(self) -> None:
        if not callable(self.learning_rate):
            require_at_least(0, learning_rate=self.learning_rate)
        require_count(
            1,
            n_episodes=self.n_episodes,
            group_size=self.group_size,
            batch_size=self.minibatch_size,
            microbatch_size=self.part_size,
            n_epochs=self.n_epochs,
        )
        for name, size in {"batch_size": self.minibatch_size, "group_size": self.group_size}.items():
            if self.n_episodes % size:
                raise InputError(f"{name} must divide n_episodes={self.n_episodes}, got {size}")
        require_within("(0, 1]", gamma=self.gamma)
        require_above(0, adam_eps=self.adam_eps)
        if self.max_grad_norm != float("inf"):
            require_above(0, max_grad_norm=self.max_grad_norm)
        require_at_least(0, kl_loss_coef=self.kl_loss_coef)
        require_count(0, verbose=self.verbose)
        require_seed(self.seed)
        if self.kl_loss_coef and self.reference is None:
            raise InputError("a KL term in the loss needs a reference: pass reference=FrozenReference(...)")
        if self.kl_loss_estimator not in ("k2", "k3"):
            raise InputError(f"kl_loss_estimator must be 'k2' or 'k3', got {self.kl_loss_estimator!r}")
        _check_policy_and_env(self.policy, self.env)

    @property
    def minibatch_size(self) -> int:
        """Completions per step of Adam."""
        return self.n_episodes if self.batch_size is None else self.batch_size

    @property
    def part_size(self) -> int:
        """Completions per forward and backward pass."""
        return self.minibatch_size if self.microbatch_size is None else self.microbatch_size

    def check_processes(self, count: int) -> None:
        """Raises InputError unless minibatches and groups are whole in each of `count` processes."""
        if self.minibatch_size % count:
            raise InputError(f"batch_size must be a multiple of the {count} processes, got {self.minibatch_size}")
        n_groups = self.n_episodes // self.group_size
        if n_groups % count:
            raise InputError(
                f"n_episodes={self.n_episodes} with group_size={self.group_size} makes {n_groups} groups; their "
                f"number must be a multiple of the {count} processes"
            )


def _check_policy_and_env(policy: ActorCriticLM, env: TextGenVectorEnv) -> None:
    """Raises InputError unless both have the same tokens, and the policy's context is long enough."""
    task = env.task
    if policy.vocab_size != task.vocab_size:
        raise InputError(
            f"the policy samples from {policy.vocab_size} tokens, the environment's tokenizer has "
            f"{task.vocab_size}; load the policy with vocab_size=len(tokenizer)"
        )
    if not np.array_equal(task.action_tokens, np.arange(policy.vocab_size)):
        raise InputError("a language model's actions are all tokens: leave out action_tokens (ban tokens instead)")
    context = context_length(policy.policy)
    if context is not None and task.length > context:
        raise InputError(
            f"prompts of {task.max_prompt_tokens} and completions of {task.max_new_tokens} tokens do not "
            f"fit the policy's context of {context}; lower max_new_tokens or shorten the prompts"
        )
