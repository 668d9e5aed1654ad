"""The MDP itself, on N slots at once: tokens in, the next state and a ledger of rewards out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from textrl_env.mdp.actions import Action
from textrl_env.mdp.episode_state import Bools, EpisodeStart, EpisodeState, Floats, Ints
from textrl_env.mdp.kl import ReferenceDecoder, exact_kl
from textrl_env.mdp.task import TextGenTask


@dataclass(frozen=True)
class Ledger:
    """Payments of the last step. Its arrays are never written in place, so a caller may keep them.

    Attributes:
        terms: per name (N,); their sum is the reward.
        score: (N,) sum of the reward functions' terms, 0 until paid.
        kl: (N,) KL estimate of the completion so far, in nats (unweighted; modes `sampled` and `exact`).
        token_rewards: the finished episode's reward by token, (N, C) where KL is paid by episode, else (N, 0).
    """

    terms: Mapping[str, Floats]
    score: Floats
    kl: Floats
    token_rewards: Floats

    @classmethod
    def empty(cls, task: TextGenTask, n: int, *, kl: Floats | None = None) -> Self:
        """Returns the ledger of n slots before anything is paid, with the KL of their completions so far."""
        return cls(
            terms={name: np.zeros(n) for name in task.term_names},
            score=np.zeros(n),
            kl=np.zeros(n) if kl is None else kl,
            token_rewards=np.zeros((n, task.n_recorded_tokens)),
        )

    @property
    def rewards(self) -> Floats:
        """(N,) the rewards: the sum of the terms."""
        total: Floats = np.sum(list(self.terms.values()), axis=0)
        return total

    def clear(self, slots: Sequence[int] | Ints) -> Self:
        """Returns the ledger with nothing in some slots, as at the start of an episode."""
        keep = np.ones(len(self.score), dtype=np.bool_)
        keep[slots] = False
        return replace(
            self,
            terms={name: np.where(keep, values, 0.0) for name, values in self.terms.items()},
            score=np.where(keep, self.score, 0.0),
            kl=np.where(keep, self.kl, 0.0),
            token_rewards=np.where(keep[:, None], self.token_rewards, 0.0),
        )


def pay_step_kl(ledger: Ledger, before: EpisodeState, action: Action, *, reference: Floats, coef: float) -> Ledger:
    """Pays the KL term of one step.

    Args:
        ledger: of the step.
        before: the state in which the actions were chosen.
        action: of N slots.
        reference: (N, V) the reference's log-probabilities in that state.
        coef: the KL coefficient, score per nat.
    """
    shaping, live = before.task.kl, before.live
    assert shaping is not None
    if action.logprobs is not None:
        logprobs = np.where(live[:, None], action.logprobs, -np.inf)
        kl = exact_kl(logprobs, reference[:, before.task.action_tokens])
        payment = -coef * kl
    else:
        ref_logprob = reference[np.arange(len(live)), action.tokens]
        kl = np.zeros(len(live)) if action.logprob is None else action.logprob - ref_logprob
        payment = shaping.pay_tokens(ref_logprob, action.logprob, coef=coef)
    terms = {**ledger.terms, shaping.term: np.where(live, payment, 0.0)}
    return replace(ledger, terms=terms, kl=ledger.kl + np.where(live, kl, 0.0))


def pay_scores(ledger: Ledger, state: EpisodeState, slots: Ints) -> Ledger:
    """Pays the reward functions' terms to finished episodes, in one call of every function."""
    if not slots.size:
        return ledger
    indices, reasons = state.prompt_index[slots].tolist(), state.finish_reason[slots].tolist()
    prompts = [state.prompts[slot] for slot in slots]
    ids = [(state.prompt_ids(slot), state.completion_ids(slot)) for slot in slots]
    terms, score, token_rewards = dict(ledger.terms), ledger.score.copy(), ledger.token_rewards.copy()
    for name, values in state.task.score(indices, prompts, ids, reasons).items():
        terms[name] = terms[name].copy()
        terms[name][slots] = values
        score[slots] += values
    if state.task.pays_per_episode:
        token_rewards[slots, state.n_tokens[slots] - 1] += score[slots]
    return replace(ledger, terms=terms, score=score, token_rewards=token_rewards)


def pay_episode_kl(ledger: Ledger, state: EpisodeState, slots: Ints, *, coef: float) -> Ledger:
    """Pays the KL terms of finished episodes, whose completions the reference scores in one pass."""
    shaping, reference = state.task.kl, state.task.reference
    assert shaping is not None and reference is not None
    longest = int(state.n_tokens[slots].max())
    width = int(state.attention_mask[slots].sum(axis=1).max())
    ids, mask = state.input_ids[slots, -width:], state.attention_mask[slots, -width:]
    ref_logprobs = reference.completion_logprobs(ids, mask, longest).astype(np.float64)
    term, kl, token_rewards = ledger.terms[shaping.term].copy(), ledger.kl.copy(), ledger.token_rewards.copy()
    for row, slot in enumerate(slots):
        count = int(state.n_tokens[slot])
        ref_logprob = ref_logprobs[row, longest - count :]
        logprob = None if shaping.mode == "reference" else state.logprobs[slot, :count]
        payments = shaping.pay_tokens(ref_logprob, logprob, coef=coef)
        term[slot] = payments.sum()
        token_rewards[slot, :count] += payments
        if logprob is not None:
            kl[slot] = (logprob - ref_logprob).sum()
    return replace(ledger, terms={**ledger.terms, shaping.term: term}, kl=kl, token_rewards=token_rewards)


class EpisodeBatch:
    """N slots of a task. `begin` starts episodes in some slots, `step` appends a token to every live slot.

    Slots that are not live stay as they are.

    Attributes:
        task: the rules.
        state: the slots now; a value, replaced by every change.
        ledger: what the last step paid; a value, too.
        coef: the KL coefficient in force.
        controls_kl: whether finished episodes change it, as the controller says.
    """

    def __init__(self, task: TextGenTask, n: int) -> None:
        self.task = task
        self.state = EpisodeState.empty(task, n)
        self.ledger = Ledger.empty(task, n)
        self.coef = task.kl.coef if task.kl else 0.0
        self.controls_kl = True
        self._decoder = self._new_decoder()

    def begin(self, slots: Sequence[int] | Ints, starts: Sequence[EpisodeStart]) -> None:
        """Starts an episode in each of `slots`, from its entry in `starts`."""
        if not self.state.live.any():
            # Episodes after a pause must not depend, by a rounding, on what was cached of those before it.
            self._decoder = self._new_decoder()
        self.state, self.ledger = self.state.begin(slots, starts), self.ledger.clear(slots)

    def abandon(self, slots: Bools) -> None:
        """Leaves the episodes of the slots marked in (N,) unfinished and unpaid."""
        self.state = self.state.abandon(slots)

    def step(self, action: Action) -> Bools:
        """Appends one token to every live slot and pays for it; returns (N,) True where an episode ended.

        If the reward function fails, the state and the ledger are those before the step.
        """
        before, coef = self.state, self.coef
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
            if self.controls_kl:
                coef = self._next_coef(kl=float(ledger.kl[ends].mean()), episodes=int(ends.sum()))
        self.state, self.ledger, self.coef = state, ledger, coef
        return ends

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

    def _new_decoder(self) -> ReferenceDecoder | None:
        """The reference's decoder where every step asks it."""
        if self.task.reference is None or self.task.pays_per_episode:
            return None
        return self.task.reference.decoder()

    def _next_logprobs(self) -> Floats | None:
        """(N, V) log-probabilities of the reference in this state, where steps are paid for them."""
        if self._decoder is None:
            return None
        state = self.state
        return self._decoder.next_logprobs(state.input_ids, state.attention_mask, state.live).astype(np.float64)

    def _next_coef(self, *, kl: float, episodes: int) -> float:
        shaping = self.task.kl
        return self.coef if shaping is None else shaping.controller.update(self.coef, kl=kl, episodes=episodes)
