"""Actions as an agent gives them, checked and turned into tokens; an impossible one is named and changes nothing."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.errors import InputError, InputTypeError
from textrl_env.mdp.action_spaces import sums_to_one
from textrl_env.mdp.episode_state import Bools, EpisodeState, Floats, Ints
from textrl_env.mdp.reference_logprobs import renormalize

CONVERSION_ERRORS = (TypeError, ValueError, OverflowError, RuntimeError)
"""By which numpy and torch refuse to make an array: torch a tensor with gradients by RuntimeError."""


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
        InputError: it is not of the action space, or may not be chosen now; an `InputTypeError` where it is no array.
    """
    mode = state.task.kl.mode if state.task.kl else None
    if mode not in ("sampled", "exact"):
        return Action(_check_tokens(state, action))
    key = "logprob" if mode == "sampled" else "logprobs"
    if not isinstance(action, dict) or set(action) != {"token", key}:
        raise InputTypeError(f"KL mode {mode!r} takes actions {{'token': …, {key!r}: …}}, got {action!r:.200}")
    n = len(state.live)
    shape = (n,) if mode == "sampled" else (n, len(state.task.action_tokens))
    tokens = _check_tokens(state, action["token"])
    try:
        values = np.asarray(action[key], dtype=np.float64)
    except CONVERSION_ERRORS:
        raise InputTypeError(f"action {key!r} must hold log-probabilities, got {action[key]!r:.200}") from None
    if values.shape != shape:
        raise InputError(f"action {key!r} must have shape {shape}, got {values.shape}")
    fault = np.isnan(values) | (values > 1e-6) | (np.isinf(values) & (mode == "sampled"))
    if len(slots := np.flatnonzero(state.live & fault.reshape(n, -1).any(axis=1))):
        raise InputError(
            f"action {key!r} must hold log-probabilities (at most 0, no NaN), got {values[slots[0]]!r:.200} "
            f"in {state.place(slots[0])}"
        )
    if mode == "sampled":
        return Action(tokens, logprob=values)
    return Action(tokens, logprobs=_among_allowed(state, values))


def _among_allowed(state: EpisodeState, logprobs: Floats) -> Floats:
    """(N, K) distributions, checked, among the actions that are allowed now; junk where a slot is not live."""
    if len(slots := np.flatnonzero(state.live & ~sums_to_one(logprobs))):
        raise InputError(
            f"action 'logprobs' must be a distribution, whose probabilities sum to 1; in {state.place(slots[0])} they "
            f"sum to {np.exp(logprobs[slots[0]]).sum():.4g}"
        )
    if not state.task.masks_actions:
        return logprobs
    among = renormalize(logprobs, action_masks(state))
    if len(slots := np.flatnonzero(state.live & np.isnan(among).any(axis=1))):
        raise InputError(
            f"action 'logprobs' in {state.place(slots[0])} give no probability to any action that is allowed there; "
            "ask action_masks()"
        )
    return among


def _check_tokens(state: EpisodeState, action: Any) -> Ints:
    """(N,) the tokens that actions stand for."""
    task, live = state.task, state.live
    try:
        actions = np.asarray(action)
    except CONVERSION_ERRORS:
        actions = np.empty(0, dtype=object)
    if actions.dtype.kind not in "iu" or not actions.ndim:
        raise InputTypeError(f"an action must be {len(live)} integer token ids, got {action!r:.200}")
    if actions.shape != live.shape:
        raise InputError(f"an action must be {len(live)} integer token ids, got an array of shape {actions.shape}")
    n_actions = len(task.action_tokens)
    if len(slots := np.flatnonzero(live & ((actions < 0) | (actions >= n_actions)))):
        raise InputError(
            f"an action is a token in [0, {n_actions}), got {actions[slots[0]]} in {state.place(slots[0])}"
        )
    actions = np.where(live, actions, 0).astype(np.int64)
    tokens: Ints = task.action_tokens[actions]
    if task.masks_actions:
        too_early = task.ending[actions] & (state.n_tokens < task.min_new_tokens)
        if len(slots := np.flatnonzero(live & (too_early | ~task.legal[actions]))):
            raise InputError(
                f"token {tokens[slots[0]]} may not be chosen now in {state.place(slots[0])}; ask action_masks()"
            )
    return tokens
