"""Training a reward model on preferences: Bradley-Terry over all pairs of a ranking, one forward per completion."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from textrl_env.errors import InputError
from textrl_env.finite import require_finite
from textrl_env.master_weights import adamw
from textrl_env.one_cycle import one_cycle
from textrl_env.progress import progress_bar
from textrl_env.reward_models.losses import bradley_terry_loss, ranking_pairs
from textrl_env.reward_models.preferences import Preference
from textrl_env.reward_models.reward_model import RewardModel
from textrl_env.reward_models.training_config import RewardModelConfig
from textrl_env.seeded import seeded


@dataclass(frozen=True)
class LossPoint:
    """The loss of one step, in nats per pair (log 2 is chance)."""

    step: int
    loss: float


def encode_preferences(reward_model: RewardModel, preferences: Sequence[Preference]) -> list[list[list[int]]]:
    """Token ids of every completion of every ranking; InputError names the row that exceeds the model's context."""
    return [[reward_model.encode(p.prompt, text, where=p.where) for text in p.ranking] for p in preferences]


def train_reward_model(
    reward_model: RewardModel,
    preferences: Sequence[Preference],
    config: RewardModelConfig,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[LossPoint]:
    """Trains in place and returns the loss of every step.

    Every completion of a ranking goes through the model once; its K (K - 1) / 2 pairs share those scores (Ouyang et
    al. 2022, section 3.5). Dropout is on where the model has it.

    Args:
        reward_model: its parameters that need gradients are trained.
        preferences: pairs or whole rankings.
        config: learning rate, epochs and so on.
        seed: of the order of the preferences and of dropout.
        should_stop: asked before every step; True ends the training early, with the model as it is.
    Raises:
        InputError: no preferences, or a completion longer than the model's context, named.
    """
    if not preferences:
        raise InputError("no preferences to train on")
    encoded = encode_preferences(reward_model, preferences)
    model = reward_model.model
    device = next(model.parameters()).device
    steps_per_epoch = -(-len(preferences) // config.batch_size)
    total = steps_per_epoch * config.n_epochs
    optimizer = adamw(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = one_cycle(optimizer, peak=config.learning_rate, n_steps=total)
    generator = torch.Generator().manual_seed(seed)
    curve: list[LossPoint] = []
    model.train()
    with seeded(seed, device), progress_bar("reward model", total) as advance:
        for rows in _batches([max(map(len, texts)) for texts in encoded], config, generator):
            if should_stop():
                break
            sequences = [ids for row in rows for ids in encoded[row]]
            better, worse = ranking_pairs([len(encoded[row]) for row in rows])
            labels = torch.tensor([p for row in rows for p in preferences[row].pair_probabilities])
            scores = reward_model.forward(sequences)
            loss = bradley_terry_loss(scores[better] - scores[worse], labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm))
            curve.append(LossPoint(len(curve) + 1, float(loss.detach())))
            require_finite(curve[-1].loss, norm, at=f"step {len(curve)}, preferences {rows}")
            optimizer.step()
            schedule.step()
            advance(note=f"loss {curve[-1].loss:.3f}")
    model.eval()
    return curve


def _batches(lengths: list[int], config: RewardModelConfig, generator: torch.Generator) -> Iterator[list[int]]:
    """Shuffled batches of rows, epoch by epoch; rows of similar length stand together, so that little is padding."""
    size = config.batch_size
    for _ in range(config.n_epochs):
        order = torch.randperm(len(lengths), generator=generator).tolist()
        batches = []
        for start in range(0, len(order), 16 * size):
            bucket = sorted(order[start : start + 16 * size], key=lambda row: lengths[row])
            batches += [bucket[first : first + size] for first in range(0, len(bucket), size)]
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]
