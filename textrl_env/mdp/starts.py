"""Where episodes start: the options of `reset`, seeds, and the draws of N slots."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding

from textrl_env.data import find_prompt_fault
from textrl_env.data.text import Prompt, encode_prompt
from textrl_env.errors import InputError, InputTypeError
from textrl_env.mdp.binding import copy_of
from textrl_env.mdp.prompt_order import PromptOrder
from textrl_env.mdp.task import TextGenTask

UNKNOWN_SEED = -1
"""Gymnasium's sign for a generator that was not made from a seed."""


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


def choose_start(task: TextGenTask, options: Mapping[str, Any]) -> EpisodeStart | None:
    """Returns the start that the options choose, or None where they leave it to a draw.

    Args:
        task: whose prompts are started from.
        options: of `reset` for one slot; may hold `prompt`, a text or conversation, or `prompt_index`, a row.

    Raises:
        InputError: another option, or a prompt that the task cannot start from.
    """
    if unknown := set(options) - {"prompt", "prompt_index"}:
        raise InputError(f"reset options may hold 'prompt' or 'prompt_index', got {sorted(map(str, unknown))}")
    if options.get("prompt") is not None and options.get("prompt_index") is not None:
        raise InputError("reset options hold both 'prompt' and 'prompt_index', two starts for one episode; give one")
    if "prompt" in options:
        return _start_from(task, options["prompt"])
    index = options.get("prompt_index")
    if index is None:
        return None
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < len(task.prompts):
        raise InputError(f"reset option 'prompt_index' must be in [0, {len(task.prompts)}), got {index!r}")
    return _start_at(task, int(index))


def draw_start(task: TextGenTask, order: PromptOrder, rng: np.random.Generator) -> EpisodeStart:
    """Returns the start from the order's next prompt."""
    return _start_at(task, order.draw(rng))


def _start_at(task: TextGenTask, index: int) -> EpisodeStart:
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
    # The caller may go on with the list of messages while the episode runs; it is scored for what it began with.
    return EpisodeStart(copy_of(prompt), ids, -1)


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
    # In Gymnasium's words, and of its kinds.
    name = "`options['reset_mask']`"
    if not isinstance(mask, np.ndarray):
        raise InputTypeError(f"{name} must be a numpy array, got {type(mask)}")
    if mask.shape != (n,):
        raise InputError(f"{name} must have shape `({n},)`, got {mask.shape}")
    if mask.dtype != np.bool_:
        raise InputTypeError(f"{name} must have `dtype=np.bool_`, got {mask.dtype}")
    if not mask.any():
        raise InputError(f"{name} must contain a boolean array with at least one True value, got reset_mask={mask}")
    return mask


class PromptDraws:
    """N slots' generators and orders.

    Attributes:
        generators: one a slot.
        seeds: the number that each generator was made from; -1 where it is not known.
        orders: of the prompts, one a slot.

    Args:
        task: whose prompts are drawn.
        n: slots.
    """

    def __init__(self, task: TextGenTask, n: int) -> None:
        self.task, self.n, self._share = task, n, (0, 1)
        self.generators: list[np.random.Generator] = []
        self.seeds: list[int] = []
        for _ in range(n):
            generator, seed = seeding.np_random(None)
            self.generators.append(generator)
            self.seeds.append(seed)
        self.orders = [task.new_order() for _ in range(n)]

    def share(self, index: int, count: int) -> None:
        """Makes slots draw only every `count`-th prompt, from `index` on; every slot begins anew with its prompts."""
        orders = [self.task.new_order(index, count) for _ in range(self.n)]
        self.orders, self._share = orders, (index, count)

    def start(
        self, slots: Sequence[int] | npt.NDArray[np.int64], options: Mapping[str, Any], *, seed: Any = None
    ) -> list[EpisodeStart]:
        """Returns the starts of the next episodes in some slots; nothing is drawn or seeded where options are wrong.

        Args:
            slots: n of N.
            options: of `reset`, one value for all slots or a sequence of N; see `choose_start`.
            seed: one for slot 0, which the others count on from, or N of them, some of them None.

        Raises:
            InputError: an option or a seed that is none.
        """
        slot_options, seeds = split_options(options, self.n), self._seeds(seed)
        starts = {slot: choose_start(self.task, slot_options[slot]) for slot in slots}
        for slot in slots:
            if (new := seeds[slot]) is not None:
                self.generators[slot], self.seeds[slot] = seeding.np_random(new)
                self.orders[slot] = self.task.new_order(*self._share)
        return [
            start or draw_start(self.task, self.orders[slot], self.generators[slot]) for slot, start in starts.items()
        ]

    def state(self) -> dict[str, Any]:
        """Returns, for JSON, all that the next draws depend on."""
        return {
            "generators": [generator.bit_generator.state for generator in self.generators],
            "orders": [order.state() for order in self.orders],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes the next draws those that followed `state()`."""
        for generator, place in zip(self.generators, state["generators"], strict=True):
            generator.bit_generator.state = place
        for order, place in zip(self.orders, state["orders"], strict=True):
            order.restore(place)
        self.seeds = [UNKNOWN_SEED] * self.n

    def _seeds(self, seed: Any) -> list[int | None]:
        """The seed of each slot, checked."""
        if isinstance(seed, list | tuple) or (isinstance(seed, np.ndarray) and seed.ndim):
            if len(seed) != self.n:
                raise InputError(f"seed must be one integer or {self.n} of them, got {len(seed)}")
            return [check_seed(value) for value in seed]
        first = check_seed(seed)
        return [None if first is None else first + slot for slot in range(self.n)]


def check_seed(seed: Any) -> int | None:
    """Returns a seed as a Python int, or None; InputError for what is neither."""
    if seed is None:
        return None
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or number < 0:
        raise InputError(f"seed must be an integer of at least 0, or None, got {seed!r:.80}")
    return number
