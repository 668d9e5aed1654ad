"""The records that flow through an update: the rollout, the targets derived from it, the batch of a loss."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """B finished episodes as tensors; prompts left-padded, completions right-padded.

    Attributes:
        prompt_ids, prompt_mask: (B, P).
        completion_ids, completion_mask: (B, C); the end token counts where it was chosen.
        logprobs: (B, C) of the tokens when they were sampled.
        rewards: (B, C) the environment's, by token.
        scores: (B,) of the reward functions.
        kl: (B,) log π(y|x) - log π_ref(y|x) in nats; 0 where the environment does not know it.
        truncated: (B,) True where the length limit cut the episode without a score.
        prompt_index: (B,).
        action_masks: (B, C, V), True where a token could be chosen, or None where all could.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    logprobs: Tensor
    rewards: Tensor
    scores: Tensor
    kl: Tensor
    truncated: Tensor
    prompt_index: Tensor
    action_masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n_tokens(self) -> int:
        """Number of completion tokens that count: the timesteps of this rollout."""
        return int(self.completion_mask.sum())

    def states(self, *, after: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the episodes as sequences of prompt and completion, L = P + C.

        Args:
            after: include the state after the last token.

        Returns:
            ids, mask, and where the state before a completion token stands, (B, L) each.
        """
        n_columns = self.prompt_ids.shape[1]
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        # The prompt's newest token stands in front of the completion's first.
        is_state = torch.zeros_like(ids, dtype=torch.bool)
        is_state[:, n_columns - 1 : -1] = self.completion_mask
        if after:
            is_state[:, n_columns:] |= self.completion_mask
        # Tokens after the last state that is read are not needed.
        mask = torch.cat([self.prompt_mask, is_state[:, n_columns:]], dim=1)
        return ids, mask, is_state

    def allowed_tokens(self) -> tuple[Tensor, Tensor] | None:
        """Returns masks of the tokens that could be chosen, (n_tokens, V), and which holds at each state, (B, L).

        The states are those of `states()`; None where all tokens could be chosen.
        """
        if self.action_masks is None:
            return None
        _, _, is_state = self.states()
        index = torch.zeros_like(is_state, dtype=torch.int64)
        index[is_state] = torch.arange(int(is_state.sum()), device=index.device)
        return self.action_masks[self.completion_mask], index

    def place(self, flat: Tensor) -> Tensor:
        """Puts numbers of counted tokens, in the order of `states`, in their places: (n_tokens,) -> (B, C), else 0."""
        return flat.new_zeros(self.completion_mask.shape).masked_scatter(self.completion_mask, flat)

    def __getitem__(self, rows: Tensor) -> "Rollout":
        return self._map(lambda value: value[rows])

    def to(self, device: torch.device) -> "Rollout":
        """Returns the same rollout on another device."""
        return self._map(lambda value: value.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Rollout":
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Rollout(**{name: change(value) for name, value in parts.items() if value is not None})


@dataclass(frozen=True)
class Targets:
    """Numbers that an algorithm derives from a rollout before its updates: (B, C) each, junk where the mask is False.

    Attributes:
        advantages: how much better a token was than expected.
        returns: what the critic should have said, or None without a critic.
        values: what the critic said, or None.
        ref_logprobs: of the tokens under the reference, where the loss has a KL term, or None.
    """

    advantages: Tensor
    returns: Tensor | None = None
    values: Tensor | None = None
    ref_logprobs: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> "Targets":
        parts = (getattr(self, field.name) for field in fields(self))
        return Targets(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    """A minibatch, or the part of it that fits in memory.

    Attributes:
        rollout: its episodes.
        targets: theirs.
        weights: (B, C), each token's share in the loss of the whole minibatch, 0 where it does not count.
    """

    rollout: Rollout
    targets: Targets
    weights: Tensor

    def __len__(self) -> int:
        return len(self.rollout)

    def __getitem__(self, rows: Tensor) -> "Batch":
        return Batch(self.rollout[rows], self.targets[rows], self.weights[rows])
