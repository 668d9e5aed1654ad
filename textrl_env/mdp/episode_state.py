"""N episodes at one moment, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from textrl_env.data.text import Prompt, decode_completion, render
from textrl_env.mdp.starts import EpisodeStart
from textrl_env.mdp.task import TextGenTask

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Observation = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class EpisodeState:
    """N slots of a task, L = P + C wide. Its arrays are never written in place, so a caller may keep them.

    Attributes:
        task: the rules of the episodes.
        prompts: N prompts, texts or conversations; "" before the first episode.
        prompt_index: (N,) rows of the prompts in the dataset; -1 for a prompt from elsewhere.
        input_ids, attention_mask: (N, L), left-padded; the newest token stands at index -1.
        n_tokens: (N,) completion tokens so far.
        live: (N,) True while an episode runs.
        finish_reason: (N,) "", "eos", "stop" or "length".
        logprobs: (N, C) log-probabilities of the completion's tokens where KL is paid by episode, else (N, 0).
    """

    task: TextGenTask
    prompts: tuple[Prompt, ...]
    prompt_index: Ints
    input_ids: Ints
    attention_mask: npt.NDArray[np.int8]
    n_tokens: Ints
    live: Bools
    finish_reason: npt.NDArray[Any]
    logprobs: Floats

    @classmethod
    def empty(cls, task: TextGenTask, n: int) -> Self:
        """Returns n slots in which no episode has begun."""
        return cls(
            task=task,
            prompts=("",) * n,
            prompt_index=np.zeros(n, dtype=np.int64),
            input_ids=np.full((n, task.length), task.pad_id, dtype=np.int64),
            attention_mask=np.zeros((n, task.length), dtype=np.int8),
            n_tokens=np.zeros(n, dtype=np.int64),
            live=np.zeros(n, dtype=np.bool_),
            finish_reason=np.full(n, "", dtype=object),
            logprobs=np.zeros((n, task.n_recorded_tokens)),
        )

    def begin(self, slots: Sequence[int] | Ints, starts: Sequence[EpisodeStart]) -> Self:
        """Returns the state after an episode began in each of `slots`, from its entry in `starts`."""
        prompts, prompt_index = list(self.prompts), self.prompt_index.copy()
        ids, mask = self.input_ids.copy(), self.attention_mask.copy()
        for slot, start in zip(slots, starts, strict=True):
            prompts[slot], prompt_index[slot] = start.prompt, start.index
            ids[slot], mask[slot] = self.task.pad_id, 0
            ids[slot, -len(start.ids) :], mask[slot, -len(start.ids) :] = start.ids, 1
        fresh = np.zeros(len(prompts), dtype=np.bool_)
        fresh[slots] = True
        return replace(
            self,
            prompts=tuple(prompts),
            prompt_index=prompt_index,
            input_ids=ids,
            attention_mask=mask,
            n_tokens=np.where(fresh, 0, self.n_tokens),
            live=self.live | fresh,
            finish_reason=np.where(fresh, "", self.finish_reason),
        )

    def abandon(self, slots: Bools) -> Self:
        """Returns the state with the episodes of the slots marked in (N,) unfinished and no longer running."""
        return replace(self, live=self.live & ~slots)

    def append(self, tokens: Ints, logprob: Floats | None) -> Self:
        """Returns the state after (N,) tokens, each appended to its slot where that is live.

        Episodes that the token ends are no longer live and have their `finish_reason`; where several would do, the
        end token comes before a stop string, and that before the length limit.
        """
        task, live, idle = self.task, self.live, np.flatnonzero(~self.live)
        logprobs = self.logprobs
        if task.pays_per_episode and logprob is not None:
            logprobs = logprobs.copy()
            logprobs[live, self.n_tokens[live]] = logprob[live]
        state = replace(
            self,
            input_ids=_shift(self.input_ids, tokens, idle),
            attention_mask=_shift(self.attention_mask, 1, idle),
            n_tokens=self.n_tokens + live,
            logprobs=logprobs,
        )
        at_limit = live & (state.n_tokens >= task.max_new_tokens)
        at_stop = state._with_stop_string()
        at_end = live & task.is_end[tokens]
        ends = at_limit | at_stop | at_end
        if not ends.any():
            return state
        finish_reason = self.finish_reason.copy()
        for reason, slots in (("length", at_limit), ("stop", at_stop), ("eos", at_end)):
            finish_reason[slots] = reason
        return replace(state, finish_reason=finish_reason, live=live & ~ends)

    def place(self, slot: int) -> str:
        """Returns the words that say where a slot is, for errors."""
        return f"slot {slot} (prompt {self.prompt_index[slot]}, after {self.n_tokens[slot]} tokens)"

    @property
    def truncated(self) -> Bools:
        """(N,) True where the length limit cut an episode without a score."""
        at_limit: Bools = self.finish_reason == "length"
        return at_limit & (self.task.length_limit == "cut")

    def observation(self, slots: int | slice = slice(None)) -> Observation:
        """Returns fresh arrays of some slots: `input_ids` and `attention_mask`, (…, L) each."""
        return {"input_ids": self.input_ids[slots].copy(), "attention_mask": self.attention_mask[slots].copy()}

    def completion_ids(self, slot: int) -> list[int]:
        """Returns the completion's token ids so far, with the end token where it was chosen."""
        ids: list[int] = self.input_ids[slot, self.task.length - self.n_tokens[slot] :].tolist()
        return ids

    def prompt_ids(self, slot: int) -> list[int]:
        """Returns the prompt's token ids."""
        end = self.task.length - self.n_tokens[slot]
        ids: list[int] = self.input_ids[slot, :end][self.attention_mask[slot, :end] != 0].tolist()
        return ids

    def completion(self, slot: int) -> str:
        """Returns the completion's text so far, without the end token and from no stop string on."""
        return self.task.completion_text(self.completion_ids(slot), self.finish_reason[slot])

    def prompt(self, slot: int) -> str:
        """Returns the prompt as text; a conversation as its chat template renders it."""
        prompt = self.prompts[slot]
        return prompt if isinstance(prompt, str) else render(self.task.tokenizer, prompt)

    def _with_stop_string(self) -> Bools:
        """(N,) True in live slots whose completion holds a stop string; it may span tokens."""
        slots = np.zeros_like(self.live)
        for slot in np.flatnonzero(self.live).tolist() if self.task.stop_strings else ():
            text = decode_completion(self.task.tokenizer, self.completion_ids(slot), end_ids=())
            slots[slot] = any(stop in text for stop in self.task.stop_strings)
        return slots


def _shift(rows: npt.NDArray[Any], last: Ints | int, idle: Ints) -> npt.NDArray[Any]:
    """(N, L): rows moved one place to the left, with `last` at the end; the idle ones as they were."""
    out = np.empty_like(rows)
    out[:, :-1], out[:, -1] = rows[:, 1:], last
    if idle.size:
        out[idle] = rows[idle]
    return out
