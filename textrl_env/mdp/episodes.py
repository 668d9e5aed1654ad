"""The MDP itself, on N slots at once: tokens in, the next state and a ledger of rewards out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from textrl_env.mdp.actions import Action
from textrl_env.mdp.episode_state import Bools, EpisodeState, Floats, Ints
from textrl_env.mdp.kl import ReferenceDecoder
from textrl_env.mdp.ledger import Ledger, pay_episode_kl, pay_scores, pay_step_kl
from textrl_env.mdp.reset_options import EpisodeStart
from textrl_env.mdp.task import TextGenTask


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
