"""Best-of-n: the highest-scoring of n sampled completions, and what it costs in KL. No training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.agents.rollouts.sampling import Completion, sample_completions
from textrl_env.data.text import Prompt, as_completion
from textrl_env.mdp import RewardSource, RewardSum


@dataclass(frozen=True)
class Best:
    """The best of n completions of a prompt, its score, and the scores of all n in the order of sampling."""

    completion: Completion
    score: float
    scores: tuple[float, ...]


def best_of_n(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    reward: RewardSource,
    *,
    n: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
) -> list[Best]:
    """Samples n completions per prompt and keeps the one with the highest score (the first of equals).

    Args:
        model, tokenizer, prompts, n, max_new_tokens, temperature, seed, batch_size: as for
            `textrl_env.agents.rollouts.sampling.sample_completions`.
        reward: as the environment takes it, see `textrl_env.mdp.rewards`; called once with all completions.
    """
    samples = sample_completions(
        model, tokenizer, prompts, max_new_tokens=max_new_tokens, n=n, temperature=temperature, seed=seed,
        batch_size=batch_size, description=f"best of {n}",
    )  # fmt: skip
    owners = [index for index, group in enumerate(samples) for _ in group]
    flat = [completion for group in samples for completion in group]
    terms = RewardSum(reward)(
        [prompts[index] for index in owners],
        [as_completion(prompts[index], one.text) for index, one in zip(owners, flat, strict=True)],
        prompt_indices=owners,
        completion_ids=[one.ids for one in flat],
        finish_reason=["eos" if one.ids[-1] == tokenizer.eos_token_id else "length" for one in flat],
    )
    scores = np.sum(list(terms.values()), axis=0).reshape(-1, n)
    return [
        Best(group[best], float(row[best]), tuple(row.tolist()))
        for group, row, best in zip(samples, scores, scores.argmax(axis=1), strict=True)
    ]
