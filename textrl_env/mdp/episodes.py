"""The MDP itself, on N slots at once: tokens in, the next state and a ledger of rewards out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from textrl_env.data.text.display import token_texts
from textrl_env.errors import InputError
from textrl_env.mdp.actions import Action
from textrl_env.mdp.episode_state import Bools, EpisodeState, Floats, Ints
from textrl_env.mdp.payments import Ledger, check_payments, pay_episode_kl, pay_scores, pay_step_kl
from textrl_env.mdp.reference_logprobs import ReferenceDecoder, as_logprobs, renormalize
from textrl_env.mdp.rendering import TokenLedger
from textrl_env.mdp.starts import EpisodeStart
from textrl_env.mdp.task import TextGenTask

TokenTerms = tuple[dict[str, float], ...]


class EpisodeBatch:
    """N slots of a task. `begin` starts episodes in some slots, `step` appends a token to every live slot.

    Slots that are not live stay as they are.

    Attributes:
        task: the rules.
        state: the slots now; a value, replaced by every change.
        ledger: what the last step paid; a value, too.
        controls_kl: whether finished episodes change it, as the controller says.
        history: per slot the terms of each token of its episode; empty where it is not kept.

    Args:
        task: the rules.
        n: N.
        keeps_history: for rendering.
    """

    def __init__(self, task: TextGenTask, n: int, *, keeps_history: bool = False) -> None:
        self.task = task
        self.state = EpisodeState.empty(task, n)
        self.ledger = Ledger.empty(task, n)
        self._coef = task.kl.coef if task.kl else 0.0
        self.controls_kl = True
        self.history: tuple[TokenTerms, ...] = ((),) * n
        self._keeps_history = keeps_history
        self._decoder = self._new_decoder()

    def begin(self, slots: Sequence[int] | Ints, starts: Sequence[EpisodeStart]) -> None:
        """Starts an episode in each of `slots`, from its entry in `starts`."""
        if not self.state.live.any():
            # Episodes after a pause must not depend, by a rounding, on what was cached of those before it.
            self._decoder = self._new_decoder()
        self.state, self.ledger = self.state.begin(slots, starts), self.ledger.clear(slots)
        fresh = set(slots)
        self.history = tuple(() if slot in fresh else past for slot, past in enumerate(self.history))

    def abandon(self, slots: Bools) -> None:
        """Leaves the episodes of the slots marked in (N,) unfinished and unpaid."""
        self.state = self.state.abandon(slots)

    def step(self, action: Action) -> Bools:
        """Appends one token to every live slot and pays for it; returns (N,) True where an episode ended.

        Nothing changes where something fails.
        """
        before, coef = self.state, self.coef
        if not before.live.any():  # There is nothing to append to, and nothing to ask the reference.
            self.ledger = Ledger.empty(self.task, len(before.live), kl=self.ledger.kl)
            return np.zeros_like(before.live)
        with self.unchanged_on_error():
            reference = self._next_logprobs()
            state = before.append(action.tokens, action.logprob)
            ledger = Ledger.empty(self.task, len(before.live), kl=self.ledger.kl)
            if reference is not None:
                ledger = pay_step_kl(ledger, before, action, reference=reference, coef=coef)
            ends = before.live & ~state.live
            if ends.any():
                ledger = pay_scores(ledger, state, np.flatnonzero(ends & ~state.truncated))
                if self.task.pays_per_episode:
                    ledger = pay_episode_kl(ledger, state, np.flatnonzero(ends), coef=coef)
            check_payments(ledger, state)
            if ends.any() and self.controls_kl:
                coef = self._next_coef(kl=float(ledger.kl[ends].mean()), episodes=int(ends.sum()))
            if self._keeps_history:
                self.history = _add_terms(self.history, before.live, ledger)
            self.state, self.ledger, self._coef = state, ledger, coef
        return ends

    @contextmanager
    def unchanged_on_error(self) -> Iterator[None]:
        """Takes back all changes of the block where it fails or is interrupted; the block can then be repeated."""
        before = self.state, self.ledger, self._coef, self.history
        try:
            yield
        except BaseException:
            self.state, self.ledger, self._coef, self.history = before
            # Its cache may hold half a step.
            self._decoder = self._new_decoder()
            raise

    @property
    def coef(self) -> float:
        """The KL coefficient in force, finite and at least 0."""
        return self._coef

    @coef.setter
    def coef(self, value: float) -> None:
        self._coef = _check_coef(value, "kl_coef")

    def control_kl(self, *, kl: float, episodes: int) -> None:
        """Lets the controller change `coef` after `episodes` with a mean KL of `kl` nats each."""
        self.coef = self._next_coef(kl=kl, episodes=episodes)

    def info(self) -> dict[str, Any]:
        """Returns the entries of Gymnasium's `info` as arrays over slots, without the ledger's terms."""
        state, ledger, task = self.state, self.ledger, self.task
        info: dict[str, Any] = {
            "prompt_index": state.prompt_index,
            "n_completion_tokens": state.n_tokens,
            "finish_reason": state.finish_reason,
            "score": ledger.score,
        }
        if task.kl is not None and task.kl.mode != "reference":
            info["kl"] = ledger.kl
        if task.pays_per_episode:
            info["token_rewards"] = ledger.token_rewards
        if task.include_text:
            slots = range(len(state.prompts))
            info["prompt"] = np.array([state.prompt(slot) for slot in slots], dtype=object)
            info["completion"] = np.array([state.completion(slot) for slot in slots], dtype=object)
        return info

    def token_ledger(self, slot: int) -> TokenLedger:
        """Returns the slot's tokens as texts, each with its terms, where the history is kept."""
        ids, unfinished = self.state.completion_ids(slot), bool(self.state.live[slot])
        texts = token_texts(self.task.tokenizer, ids, is_open=unfinished)
        return list(zip(texts, self.history[slot], strict=True))

    def _new_decoder(self) -> ReferenceDecoder | None:
        """The reference's decoder where every step asks it."""
        if self.task.reference is None or self.task.pays_per_episode:
            return None
        return self.task.reference.decoder()

    def _next_logprobs(self) -> Floats | None:
        """(N, V) log-probabilities of the reference in this state, where steps are paid for them."""
        state, task = self.state, self.task
        if self._decoder is None or task.reference is None:
            return None
        values = self._decoder.next_logprobs(state.input_ids, state.attention_mask, state.live)
        logprobs = as_logprobs(task.reference, values, shape=(len(state.live), task.vocab_size))
        return (
            renormalize(logprobs, task.token_masks[task.mask_index(state.n_tokens)])
            if task.forbids_tokens
            else logprobs
        )

    def _next_coef(self, *, kl: float, episodes: int) -> float:
        shaping = self.task.kl
        if shaping is None:
            return self._coef
        coef = shaping.controller.update(self._coef, kl=kl, episodes=episodes)
        return _check_coef(coef, f"the coefficient of {type(shaping.controller).__name__} after a KL of {kl} nats")


def _add_terms(history: tuple[TokenTerms, ...], live: Bools, ledger: Ledger) -> tuple[TokenTerms, ...]:
    """The history with what live slots were paid for their newest token."""
    return tuple(
        (*past, {name: float(values[slot]) for name, values in ledger.terms.items()}) if runs else past
        for slot, (past, runs) in enumerate(zip(history, live, strict=True))
    )


def _check_coef(value: Any, name: str) -> float:
    try:
        coef = float(value)
    except (TypeError, ValueError):
        coef = np.nan
    if not 0 <= coef < np.inf:
        raise InputError(f"{name} must be a finite number of at least 0, got {value!r}")
    return coef
