"""What a rollout says, in the form that reward functions take."""

from typing import Any

from textrl_env.agents.rollout import Rollout
from textrl_env.data.text import as_completion
from textrl_env.mdp import TextGenTask


def rollout_texts(rollout: Rollout, task: TextGenTask) -> tuple[list[Any], list[Any]]:
    """B prompts as the dataset has them, and B completions."""
    prompts = [task.prompts.prompts[index] for index in rollout.prompt_index.tolist()]
    completions = [
        as_completion(prompt, task.tokenizer.decode(ids[mask].tolist(), skip_special_tokens=True))
        for prompt, ids, mask in zip(prompts, rollout.completion_ids, rollout.completion_mask, strict=True)
    ]
    return prompts, completions
