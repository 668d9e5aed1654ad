"""The MDP itself, on N slots at once: tokens in, observations and a ledger of rewards out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textrl_env.data.text import Prompt, render
from textrl_env.mdp.actions import Action, checked
from textrl_env.mdp.kl import ESTIMATORS, exact_kl
from textrl_env.mdp.task import TextGenTask

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Start:
    """What an episode starts from: the prompt, its token ids, its dataset index (-1: not from the dataset)."""

    prompt: Prompt
    ids: Ints
    index: int


class EpisodeBatch:
    """N slots of a task. `begin` starts episodes in some slots, `step` appends a token to every live slot.

    Slots that are not live stay as they are. After each call the public arrays describe the current state; they are
    replaced, never written in place, so a caller may keep them.

    Attributes:
        input_ids, attention_mask: (N, L), left-padded; the newest token stands at index -1.
        prompts: N prompts, texts or conversations; "" before the first episode.
        n_tokens: (N,) completion tokens so far.
        live: (N,) True while an episode runs.
        finish_reason: (N,) "", "eos", "stop" or "length".
        terms: per name (N,), the ledger of the last step; their sum is the reward.
        score: (N,) sum of the reward functions' terms, 0 until paid.
        kl: (N,) KL estimate of the completion so far, in nats (unweighted; modes `sampled` and `exact`).
        token_rewards: (N, C) with `pay="episode"`: the finished episode's reward by token.
        coef: the KL coefficient in force.
        controls_kl: whether finished episodes change it, as the controller says.
    """

    def __init__(self, task: TextGenTask, n: int) -> None:
        self.task = task
        self.n = n
        shape = (n, task.length)
        self.input_ids: Ints = np.full(shape, task.pad_id, dtype=np.int64)
        self.attention_mask = np.zeros(shape, dtype=np.int8)
        self.prompts: list[Prompt] = [""] * n
        self.prompt_index: Ints = np.zeros(n, dtype=np.int64)
        self.n_tokens: Ints = np.zeros(n, dtype=np.int64)
        self.live: Bools = np.zeros(n, dtype=np.bool_)
        self.finish_reason = np.full(n, "", dtype=object)
        self.coef = task.kl.coef if task.kl else 0.0
        self.controls_kl = True
        self.terms: dict[str, Floats]
        self.score: Floats
        self.token_rewards: Floats
        self._clear_ledger()
        self.kl: Floats = np.zeros(n)
        self._logprobs: Floats = np.zeros((n, task.max_new_tokens))
        by_step = task.kl is not None and task.kl.pay == "step" and task.reference is not None
        self._decoder = task.reference.decoder() if by_step and task.reference else None

    @property
    def pays_per_episode(self) -> bool:
        return self.task.kl is not None and self.task.kl.pay == "episode"

    def begin(self, slots: list[int] | Ints, starts: Sequence[Start]) -> None:
        """Starts an episode in each of `slots` from what is given for it."""
        if self._decoder is not None and self.task.reference is not None and not self.live.any():
            # Episodes after a pause must not depend, by a rounding, on what was cached of those before it.
            self._decoder = self.task.reference.decoder()
        self.input_ids, self.attention_mask = self.input_ids.copy(), self.attention_mask.copy()
        self.prompts = list(self.prompts)
        for slot, start in zip(slots, starts, strict=True):
            self.prompts[slot] = start.prompt
            self.input_ids[slot] = self.task.pad_id
            self.input_ids[slot, -len(start.ids) :] = start.ids
            self.attention_mask[slot] = 0
            self.attention_mask[slot, -len(start.ids) :] = 1
        chosen = np.zeros(self.n, dtype=np.bool_)
        chosen[slots] = True
        self.prompt_index = self.prompt_index.copy()
        self.prompt_index[slots] = [start.index for start in starts]
        self.n_tokens = np.where(chosen, 0, self.n_tokens)
        self.kl = np.where(chosen, 0.0, self.kl)
        self.live = self.live | chosen
        self.finish_reason = np.where(chosen, "", self.finish_reason)
        self.terms = {name: np.where(chosen, 0.0, values) for name, values in self.terms.items()}
        self.score = np.where(chosen, 0.0, self.score)
        if self.pays_per_episode:
            self.token_rewards = np.where(chosen[:, None], 0.0, self.token_rewards)

    def abandon(self, slots: Bools) -> None:
        """Leaves the episodes of the slots marked in (N,) unfinished and unpaid."""
        self.live = self.live & ~slots

    def check(self, action: Any) -> Action:
        """Actions of the batched action space as arrays; raises InputError and changes nothing if one is impossible."""
        return checked(self.task, action, live=self.live, n_tokens=self.n_tokens)

    def action_masks(self) -> Bools:
        """(N, K), True where an action may be chosen now."""
        too_early = self.n_tokens < self.task.min_new_tokens
        masks: Bools = self.task.allowed & ~(too_early[:, None] & self.task.ending)
        return masks

    def step(self, action: Action) -> Bools:
        """Appends one token to every live slot and books its rewards; returns (N,) True where an episode ended.

        If the reward function fails, the error leaves the state as it was before the step.
        """
        before = dict(self.__dict__)
        try:
            return self._step(action)
        except Exception:
            self.__dict__.update(before)
            raise

    def _step(self, action: Action) -> Bools:
        live = self.live
        self._clear_ledger()
        reference = None
        if self._decoder is not None:
            reference = self._decoder.next_logprobs(self.input_ids, self.attention_mask, live).astype(np.float64)
        if self.pays_per_episode and action.logprob is not None:
            self._logprobs[live, self.n_tokens[live]] = action.logprob[live]
        self._append(action.tokens, live)
        ended = self._finish(action.tokens, live)
        if reference is not None:
            self._pay_step(action, reference, live)
        if ended.any():
            self._pay_scores(np.flatnonzero(ended & ~self.truncated))
            if self.pays_per_episode:
                self._pay_episodes(np.flatnonzero(ended))
            if self.controls_kl:
                self.control_kl(kl=float(self.kl[ended].mean()), episodes=int(ended.sum()))
        return ended

    @property
    def rewards(self) -> Floats:
        """(N,) the last step's rewards: the sum of the ledger's terms."""
        total: Floats = np.sum(list(self.terms.values()), axis=0)
        return total

    @property
    def truncated(self) -> Bools:
        """(N,) True where the length limit cut an episode without a score."""
        at_limit: Bools = self.finish_reason == "length"
        return at_limit & (self.task.length_limit == "cut")

    def completion_ids(self, slot: int) -> list[int]:
        """The completion's token ids so far, with the end token where it was chosen."""
        ids: list[int] = self.input_ids[slot, self.task.length - self.n_tokens[slot] :].tolist()
        return ids

    def completion(self, slot: int) -> str:
        """The completion's text so far, without the end token and from no stop string on."""
        return self.task.completion_text(self.completion_ids(slot), self.finish_reason[slot])

    def prompt(self, slot: int) -> str:
        """The prompt as text; a conversation as its chat template renders it."""
        prompt = self.prompts[slot]
        return prompt if isinstance(prompt, str) else render(self.task.tokenizer, prompt)

    def _clear_ledger(self) -> None:
        self.terms = {name: np.zeros(self.n) for name in self.task.term_names}
        self.score = np.zeros(self.n)
        if self.pays_per_episode:
            self.token_rewards = np.zeros((self.n, self.task.max_new_tokens))

    def _append(self, tokens: Ints, live: Bools) -> None:
        shifted_ids, shifted_mask = np.empty_like(self.input_ids), np.empty_like(self.attention_mask)
        shifted_ids[:, :-1], shifted_ids[:, -1] = self.input_ids[:, 1:], tokens
        shifted_mask[:, :-1], shifted_mask[:, -1] = self.attention_mask[:, 1:], 1
        if not live.all():
            shifted_ids[~live], shifted_mask[~live] = self.input_ids[~live], self.attention_mask[~live]
        self.input_ids, self.attention_mask = shifted_ids, shifted_mask
        self.n_tokens = self.n_tokens + live

    def _finish(self, tokens: Ints, live: Bools) -> Bools:
        at_end: Bools = live & self.task.is_end[tokens]
        at_limit: Bools = live & (self.n_tokens >= self.task.max_new_tokens)
        stopped = self._stopped(live)
        ended = at_end | stopped | at_limit
        if ended.any():
            self.finish_reason = self.finish_reason.copy()
            for reason, slots in (("length", at_limit), ("stop", stopped), ("eos", at_end)):
                self.finish_reason[slots] = reason
            self.live = live & ~ended
        return ended

    def _stopped(self, live: Bools) -> Bools:
        """(N,) True where the completion holds a stop string; it may span tokens."""
        stopped = np.zeros(self.n, dtype=np.bool_)
        for slot in np.flatnonzero(live).tolist() if self.task.stop_strings else ():
            text = self.task.tokenizer.decode(self.completion_ids(slot), skip_special_tokens=True)
            stopped[slot] = any(stop in text for stop in self.task.stop_strings)
        return stopped

    def _pay_step(self, action: Action, reference: Floats, live: Bools) -> None:
        kl = self.task.kl
        assert kl is not None
        of_token = reference[np.arange(self.n), action.tokens]
        if kl.mode == "reference":
            self.terms["reference"] = np.where(live, self.coef * of_token, 0.0)
        elif action.logprob is not None:
            price = ESTIMATORS[kl.estimator](action.logprob, of_token)
            self.terms["kl"] = np.where(live, -self.coef * price, 0.0)
            self.kl = self.kl + np.where(live, action.logprob - of_token, 0.0)
        elif action.logprobs is not None:
            of_actions = reference[:, self.task.action_tokens]
            price = np.where(live, exact_kl(np.where(live[:, None], action.logprobs, -np.inf), of_actions), 0.0)
            self.terms["kl"] = -self.coef * price
            self.kl = self.kl + price

    def _pay_scores(self, slots: Ints) -> None:
        if not slots.size:
            return
        indices, reasons = self.prompt_index[slots].tolist(), self.finish_reason[slots].tolist()
        prompts = [self.prompts[slot] for slot in slots]
        completions = [self.completion_ids(slot) for slot in slots]
        for name, values in self.task.score(indices, prompts, completions, reasons).items():
            self.terms[name][slots] = values
            self.score[slots] += values
        if self.pays_per_episode:
            self.token_rewards[slots, self.n_tokens[slots] - 1] += self.score[slots]

    def _pay_episodes(self, slots: Ints) -> None:
        kl, reference = self.task.kl, self.task.reference
        assert kl is not None and reference is not None
        self.kl = self.kl.copy()
        longest = int(self.n_tokens[slots].max())
        used = int(self.attention_mask[slots].sum(axis=1).max())
        of_token = reference.completion_logprobs(
            self.input_ids[slots, -used:], self.attention_mask[slots, -used:], longest
        ).astype(np.float64)
        for row, slot in enumerate(slots):
            count = int(self.n_tokens[slot])
            ref_logprob: Floats = of_token[row, longest - count :]
            if kl.mode == "reference":
                name, parts = "reference", self.coef * ref_logprob
            else:
                logprob = self._logprobs[slot, :count]
                name, parts = "kl", -self.coef * ESTIMATORS[kl.estimator](logprob, ref_logprob)
                self.kl[slot] = (logprob - ref_logprob).sum()
            self.terms[name][slot] = parts.sum()
            self.token_rewards[slot, :count] += parts

    def control_kl(self, *, kl: float, episodes: int) -> None:
        """Lets the controller change `coef` after `episodes` with a mean KL of `kl` nats each."""
        if self.task.kl is not None:
            self.coef = self.task.kl.controller.update(self.coef, kl=kl, episodes=episodes)
