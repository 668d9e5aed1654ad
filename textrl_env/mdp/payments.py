"""What a step pays: the ledger of rewards, the scores of finished episodes, and the KL terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from textrl_env.errors import InputError
from textrl_env.mdp.actions import Action
from textrl_env.mdp.episode_state import EpisodeState, Floats, Ints
from textrl_env.mdp.kl import exact_kl
from textrl_env.mdp.reference_logprobs import check_logprobs, score_completions
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

    Raises:
        InputError: the reference gives NaN, or no probability to what the policy may choose.
    """
    task, live = before.task, before.live
    shaping, slots = task.kl, np.flatnonzero(before.live)
    assert shaping is not None and task.reference is not None
    if action.logprobs is not None:
        logprobs = np.where(live[:, None], action.logprobs, -np.inf)
        among = reference[:, task.action_tokens]
        rows, actions = np.nonzero(np.isfinite(logprobs))
        tokens = task.action_tokens[actions]
        check_logprobs(task.reference, among[rows, actions], tokens, place=lambda n: before.place(rows[n]))
        kl = exact_kl(logprobs, among)
        payment = -coef * kl
    else:
        ref_logprob = reference[np.arange(len(live)), action.tokens]
        check_logprobs(task.reference, ref_logprob[slots], action.tokens[slots], place=lambda n: before.place(slots[n]))
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
    task, counts = state.task, state.n_tokens[slots]
    shaping = task.kl
    assert shaping is not None and task.reference is not None
    width = int(state.attention_mask[slots].sum(axis=1).max())
    ids, mask = state.input_ids[slots, -width:], state.attention_mask[slots, -width:]
    ref_logprobs = score_completions(
        task.reference,
        ids,
        mask,
        counts=counts,
        allowed=task.allowed_tokens(counts),
        place=lambda row: state.place(slots[row]),
    )
    term, kl, token_rewards = ledger.terms[shaping.term].copy(), ledger.kl.copy(), ledger.token_rewards.copy()
    for slot, count, ref_logprob in zip(slots, counts.tolist(), ref_logprobs, strict=True):
        logprob = None if shaping.mode == "reference" else state.logprobs[slot, :count]
        payments = shaping.pay_tokens(ref_logprob, logprob, coef=coef)
        term[slot] = payments.sum()
        token_rewards[slot, :count] += payments
        if logprob is not None:
            kl[slot] = (logprob - ref_logprob).sum()
    return replace(ledger, terms={**ledger.terms, shaping.term: term}, kl=kl, token_rewards=token_rewards)


def check_payments(ledger: Ledger, state: EpisodeState) -> None:
    """Raises InputError, with the slot and its terms, unless every reward is a finite number."""
    slots = np.flatnonzero(~np.isfinite(ledger.rewards))
    if len(slots):
        terms = ", ".join(f"{name} {values[slots[0]]}" for name, values in ledger.terms.items())
        raise InputError(
            f"the reward in {state.place(slots[0])} is no finite number: {terms}. Look at the scores and their "
            "weights, and at log-probabilities far below 0, of which the KL estimator makes a number too large"
        )
