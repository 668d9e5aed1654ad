"""Options of `reset`: the prompt that an episode starts from, the slots that start, and options for each slot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.data import find_prompt_fault
from textrl_env.data.text import Prompt, encode_prompt
from textrl_env.errors import InputError
from textrl_env.mdp.prompt_order import PromptOrder
from textrl_env.mdp.task import TextGenTask


@dataclass(frozen=True)
class EpisodeStart:
    """The beginning of an episode.

    Attributes:
        prompt: a text or a conversation.
        ids: (n,) its token ids.
        index: its row in the dataset; -1 for a prompt from elsewhere.
    """

    prompt: Prompt
    ids: npt.NDArray[np.int64]
    index: int


def choose_start(
    task: TextGenTask, options: Mapping[str, Any], order: PromptOrder, rng: np.random.Generator
) -> EpisodeStart:
    """Returns the start of the next episode.

    Args:
        task: whose prompts are started from.
        options: of `reset` for one slot; may hold `prompt`, a text or conversation, or `prompt_index`, a row.
        order: chooses the row where the options do not.
        rng: of the order's draws.

    Raises:
        InputError: another option, or a prompt that the task cannot start from.
    """
    if unknown := set(options) - {"prompt", "prompt_index"}:
        raise InputError(f"reset options may hold 'prompt' or 'prompt_index', got {sorted(unknown)}")
    if "prompt" in options:
        return _start_from(task, options["prompt"])
    index = options.get("prompt_index")
    if index is None:
        index = order.draw(rng)
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < len(task.prompts):
        raise InputError(f"reset option 'prompt_index' must be in [0, {len(task.prompts)}), got {index!r}")
    index = int(index)
    return EpisodeStart(task.prompts.prompts[index], task.prompt_ids[index], index)


def _start_from(task: TextGenTask, prompt: Any) -> EpisodeStart:
    """The start from a prompt that is not of the dataset."""
    fault = find_prompt_fault(prompt)
    if fault is None and isinstance(prompt, str) is task.prompts.conversational:
        fault = f"must be a {type(task.prompts.prompts[0]).__name__}, as the dataset's prompts are"
    if fault is not None:
        raise InputError(f"reset option 'prompt' {fault}; got {prompt!r:.80}")
    ids = np.array(encode_prompt(task.tokenizer, prompt), dtype=np.int64)
    if not 0 < len(ids) <= task.max_prompt_tokens:
        raise InputError(f"the prompt has {len(ids)} tokens, expected 1 to {task.max_prompt_tokens}: {prompt!r:.80}")
    return EpisodeStart(prompt, ids, -1)


def split_options(options: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Returns the options of each of n slots; an option is one value for all, or a sequence with one a slot.

    Raises:
        InputError: a sequence of another length.
    """
    for key, value in options.items():
        if _is_per_slot(value) and len(value) != n:
            raise InputError(f"reset option {key!r} must be one value or {n} of them, got {len(value)}")
    return [{key: value[slot] if _is_per_slot(value) else value for key, value in options.items()} for slot in range(n)]


def _is_per_slot(value: Any) -> bool:
    """True for a sequence over slots; a conversation, a list of messages, is one prompt for all."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, list | tuple) and not any(isinstance(entry, Mapping) for entry in value)


def check_reset_mask(mask: Any, n: int) -> npt.NDArray[np.bool_]:
    """Returns (n,), True for the slots that start: `mask`, or all where it is None; InputError for anything else."""
    if mask is None:
        return np.ones(n, dtype=np.bool_)
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (n,) and mask.any()):
        raise InputError(f"reset_mask must be a bool array of shape ({n},), some True; got {mask!r:.200}")
    return mask
