"""Actions as an agent gives them, checked and turned into tokens; an impossible one is named and changes nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.errors import InputError
from textrl_env.mdp.episode_state import Bools, EpisodeState, Floats, Ints


@dataclass(frozen=True)
class Action:
    """Checked actions of N slots.

    Attributes:
        tokens: (N,) token ids.
        logprob: (N,) their log-probabilities under the policy, where KL mode `sampled` needs them.
        logprobs: (N, K) those of all actions, where mode `exact` does.
    """

    tokens: Ints
    logprob: Floats | None = None
    logprobs: Floats | None = None


def action_masks(state: EpisodeState) -> Bools:
    """Returns (N, K), True where an action may be chosen now."""
    too_early = state.n_tokens < state.task.min_new_tokens
    masks: Bools = state.task.legal & ~(too_early[:, None] & state.task.ending)
    return masks


def check_action(state: EpisodeState, action: Any) -> Action:
    """Returns an action of the batched action space as arrays.

    Args:
        state: N slots; the action of a slot that is not live may be any number.
        action: (N,) integers, or a dict with those and log-probabilities where KL shaping asks for them.

    Raises:
        InputError: it is not of the action space, or may not be chosen now.
    """
    mode = state.task.kl.mode if state.task.kl else None
    if mode not in ("sampled", "exact"):
        return Action(_check_tokens(state, action))
    key = "logprob" if mode == "sampled" else "logprobs"
    if not isinstance(action, dict) or set(action) != {"token", key}:
        raise InputError(f"KL mode {mode!r} takes actions {{'token': …, {key!r}: …}}, got {action!r:.200}")
    n = len(state.live)
    shape = (n,) if mode == "sampled" else (n, len(state.task.action_tokens))
    tokens = _check_tokens(state, action["token"])
    try:
        values = np.asarray(action[key], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"action {key!r} must hold log-probabilities, got {action[key]!r:.200}") from None
    if values.shape != shape:
        raise InputError(f"action {key!r} must have shape {shape}, got {values.shape}")
    in_use = values[state.live]
    if np.isnan(in_use).any() or (in_use > 1e-6).any() or (mode == "sampled" and np.isinf(in_use).any()):
        raise InputError(f"action {key!r} must hold log-probabilities (at most 0, no NaN), got {in_use!r:.200}")
    return Action(tokens, logprob=values) if mode == "sampled" else Action(tokens, logprobs=values)


def _check_tokens(state: EpisodeState, action: Any) -> Ints:
    """(N,) the tokens that actions stand for."""
    task, live = state.task, state.live
    try:
        actions = np.asarray(action)
    except (TypeError, ValueError):
        actions = np.empty(0, dtype=object)
    if actions.dtype.kind not in "iu" or actions.shape != live.shape:
        raise InputError(f"an action must be {len(live)} integer token ids, got {action!r:.200}")
    n_actions = len(task.action_tokens)
    outside = live & ((actions < 0) | (actions >= n_actions))
    if outside.any():
        raise InputError(f"an action is a token in [0, {n_actions}), got {actions[outside][0]}")
    actions = np.where(live, actions, 0).astype(np.int64)
    tokens: Ints = task.action_tokens[actions]
    if task.masks_actions:
        too_early = task.ending[actions] & (state.n_tokens < task.min_new_tokens)
        illegal = live & (too_early | ~task.legal[actions])
        if illegal.any():
            raise InputError(f"token {tokens[illegal][0]} may not be chosen now; ask action_masks()")
    return tokens
