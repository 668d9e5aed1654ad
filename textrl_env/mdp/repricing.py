"""Records of finished episodes, and their payments under any task: no token is generated again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt

from textrl_env.errors import InputError
from textrl_env.mdp.reference_logprobs import score_completions
from textrl_env.mdp.task import TextGenTask

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Episode:
    """A finished episode, as far as its rewards depend on it.

    Attributes:
        prompt_index: row of the prompt dataset.
        completion_ids: T token ids, with the end token where one was chosen.
        logprobs: T log-probabilities of the tokens under the policy, in nats, where actions carried them; else None.
    """

    prompt_index: int
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None


class RecordEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Keeps every finished episode of a `TextGenEnv` in `episodes`, in order."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.episodes: list[Episode] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; one that still runs is not recorded."""
        self._logprobs: list[float] = []
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps, and records the episode where it ends."""
        observation, reward, terminated, truncated, info = super().step(action)
        if isinstance(action, dict) and "logprob" in action:
            self._logprobs.append(float(action["logprob"]))
        if terminated or truncated:
            ids = observation["input_ids"][-info["n_completion_tokens"] :].tolist()
            self.episodes.append(Episode(info["prompt_index"], tuple(ids), tuple(self._logprobs) or None))
        return observation, reward, terminated, truncated, info


def reprice(task: TextGenTask, episodes: Sequence[Episode], *, batch_size: int = 64) -> list[dict[str, Floats]]:
    """Computes the reward ledgers of recorded episodes under a task: other rewards, coefficient, estimator, reference.

    Equals a fresh run of the task's environment over the same tokens (with the coefficient that the task starts from,
    where a controller would change it). The reference scores whole completions in one pass a batch.

    Args:
        task: whose prompts the episodes' indices belong to.
        episodes: finished episodes.
        batch_size: episodes that are scored together.

    Returns:
        per episode a mapping of every term's name to (T,), the payments by token.

    Raises:
        InputError: an episode that the task would not have finished there, or without the log-probabilities that the
            task's KL mode needs; named by its index.
    """
    if task.kl is not None and task.kl.mode == "exact":
        raise InputError("episodes do not hold whole distributions: KL mode 'exact' cannot be paid again")
    ledgers: list[dict[str, Floats]] = []
    for start in range(0, len(episodes), batch_size):
        part = episodes[start : start + batch_size]
        reasons = [_finish_reason(task, episode, start + row) for row, episode in enumerate(part)]
        payments: list[dict[str, Floats]] = [
            {name: np.zeros(len(episode.completion_ids)) for name in task.term_names} for episode in part
        ]
        _pay_scores(task, part, reasons, payments)
        _pay_kl(task, part, payments, first=start)
        ledgers += payments
    return ledgers


def _finish_reason(task: TextGenTask, episode: Episode, index: int) -> str:
    ids = episode.completion_ids
    if not 0 <= episode.prompt_index < len(task.prompts):
        raise InputError(f"episode {index}: prompt_index {episode.prompt_index} is not of the task's prompts")
    allowed = task.token_masks[task.mask_index(np.arange(len(ids)))]
    if forbidden := [token for token, mask in zip(ids, allowed, strict=True) if not mask[token]]:
        raise InputError(
            f"episode {index}: the task forbids its token {forbidden[0]} there; reprice it under the rules it was "
            "recorded with"
        )
    if reason := task.finish_reason(ids):
        return reason
    raise InputError(
        f"episode {index}: its {len(ids)} tokens end with neither an end token, a stop string nor the limit of "
        f"{task.max_new_tokens}; reprice it under the rules it was recorded with"
    )


def _pay_scores(
    task: TextGenTask, episodes: Sequence[Episode], reasons: list[str], payments: list[dict[str, Floats]]
) -> None:
    """Writes the reward functions' terms into the payments of the episodes that are scored, at their last tokens."""
    rows = [row for row, reason in enumerate(reasons) if reason != "length" or task.length_limit == "scored"]
    if not rows:
        return
    indices = [episodes[row].prompt_index for row in rows]
    prompts = [task.prompts.prompts[index] for index in indices]
    ids = [
        (task.prompt_ids[index].tolist(), episodes[row].completion_ids)
        for index, row in zip(indices, rows, strict=True)
    ]
    for name, values in task.score(indices, prompts, ids, [reasons[row] for row in rows]).items():
        for row, value in zip(rows, values, strict=True):
            payments[row][name][-1] = value


def _pay_kl(task: TextGenTask, episodes: Sequence[Episode], payments: list[dict[str, Floats]], *, first: int) -> None:
    """Writes the KL terms into the payments; `first` is the number of the first episode, for error messages."""
    if task.kl is None or task.reference is None:
        return
    rows = [[*task.prompt_ids[episode.prompt_index], *episode.completion_ids] for episode in episodes]
    width, counts = max(map(len, rows)), np.array([len(episode.completion_ids) for episode in episodes])
    ids = np.array([[task.pad_id] * (width - len(row)) + row for row in rows], dtype=np.int64)
    mask = (np.arange(width) >= np.array([width - len(row) for row in rows])[:, None]).astype(np.int8)
    ref_logprobs = score_completions(
        task.reference,
        ids,
        mask,
        counts=counts,
        allowed=task.allowed_tokens(counts),
        place=lambda row: f"episode {first + row}",
    )
    for row, (episode, ref_logprob) in enumerate(zip(episodes, ref_logprobs, strict=True)):
        logprob = None
        if task.kl.mode == "sampled":
            if episode.logprobs is None:
                raise InputError(
                    f"episode {first + row}: no log-probabilities were recorded; KL mode 'sampled' needs them"
                )
            logprob = np.array(episode.logprobs)
        terms = task.kl.pay_tokens(ref_logprob, logprob, coef=task.kl.coef)
        if not np.isfinite(terms).all():
            raise InputError(
                f"episode {first + row}: a KL payment of {terms[~np.isfinite(terms)][0]} is no finite number"
            )
        payments[row][task.kl.term] = terms
