"""Actions as an agent gives them, checked and turned into tokens; nothing is changed by one that is impossible."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.mdp.task import TextGenTask

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Action:
    """Checked actions of N slots: tokens (N,), and what KL shaping needs of the policy, or None."""

    tokens: Ints
    logprob: Floats | None = None
    logprobs: Floats | None = None


def checked(task: TextGenTask, action: Any, *, live: Bools, n_tokens: Ints) -> Action:
    """An action of the batched action space as arrays.

    Args:
        task: whose actions these are.
        action: for N slots; that of a slot which is not live may be anything in form.
        live: (N,) True where an episode runs.
        n_tokens: (N,) completion tokens so far.

    Raises:
        InputError: not of the action space, or not to be chosen now.
    """
    mode = task.kl.mode if task.kl else None
    if mode not in ("sampled", "exact"):
        return Action(_tokens(task, action, live, n_tokens))
    key = "logprob" if mode == "sampled" else "logprobs"
    if not isinstance(action, dict) or set(action) != {"token", key}:
        raise InputError(f"KL mode {mode!r} takes actions {{'token': …, {key!r}: …}}, got {action!r:.200}")
    shape = (len(live),) if mode == "sampled" else (len(live), len(task.action_tokens))
    tokens = _tokens(task, action["token"], live, n_tokens)
    try:
        values = np.asarray(action[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"action {key!r} must hold log-probabilities, got {action[key]!r:.200}") from None
    if values.shape != shape:
        raise InputError(f"action {key!r} must have shape {shape}, got {values.shape}")
    of_live = values[live]
    if np.isnan(of_live).any() or (of_live > 1e-6).any() or (mode == "sampled" and np.isinf(of_live).any()):
        raise InputError(f"action {key!r} must hold log-probabilities (at most 0, no NaN), got {of_live!r:.200}")
    return Action(tokens, values, None) if mode == "sampled" else Action(tokens, None, values)


def _tokens(task: TextGenTask, action: Any, live: Bools, n_tokens: Ints) -> Ints:
    """(N,) the tokens that actions stand for."""
    try:
        actions = np.asarray(action)
    except (TypeError, ValueError):
        actions = np.empty(0, dtype=object)
    if actions.dtype.kind not in "iu" or actions.shape != live.shape:
        raise InputError(f"an action must be {len(live)} integer token ids, got {action!r:.200}")
    n_actions = len(task.action_tokens)
    wrong = live & ((actions < 0) | (actions >= n_actions))
    if wrong.any():
        raise InputError(f"an action is a token in [0, {n_actions}), got {actions[wrong][0]}")
    actions = np.where(live, actions, 0).astype(np.int64)
    tokens: Ints = task.action_tokens[actions]
    if task.masks_actions:
        too_early = task.ending[actions] & (n_tokens < task.min_new_tokens)
        illegal = live & (too_early | ~task.allowed[actions])
        if illegal.any():
            raise InputError(f"token {tokens[illegal][0]} may not be chosen now; ask action_masks()")
    return tokens
