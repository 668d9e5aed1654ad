"""Whether a policy and an environment go together."""

import numpy as np

from textrl_env.agents.policy import ActorCriticLM
from textrl_env.errors import InputError
from textrl_env.mdp import TextGenVectorEnv


def check_fits(policy: ActorCriticLM, env: TextGenVectorEnv) -> None:
    """Raises InputError unless policy and environment have the same tokens, and the policy's context is long enough."""
    if policy.vocab_size != env.task.vocab_size:
        raise InputError(
            f"the policy samples from {policy.vocab_size} tokens, the environment's tokenizer has "
            f"{env.task.vocab_size}; load the policy with vocab_size=len(tokenizer)"
        )
    if not np.array_equal(env.task.action_tokens, np.arange(policy.vocab_size)):
        raise InputError("a language model's actions are all tokens: leave out action_tokens (ban tokens instead)")
    context = getattr(policy.policy.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and env.task.length > context:
        raise InputError(
            f"prompts of {env.task.max_prompt_tokens} and completions of {env.task.max_new_tokens} tokens do not "
            f"fit the policy's context of {context}; lower max_new_tokens or shorten the prompts"
        )
