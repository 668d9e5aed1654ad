"""From options to a reward model: what is made, what of it is trained, and what happens to its scores at the end."""

from collections.abc import Sequence
from pathlib import Path

import torch

from textrl_env.lm.adapters import with_lora
from textrl_env.reward_models.model.ensemble import RewardEnsemble
from textrl_env.reward_models.model.frozen_trunk import FrozenTrunk
from textrl_env.reward_models.model.kind_config import RewardModelKind
from textrl_env.reward_models.model.reward_model import RewardModel, by_length
from textrl_env.reward_models.training import MemberLoss, RewardModelConfig, RewardModelTraining, Row, bootstrap_counts


def new_reward_model(folder: str | Path, kind: RewardModelKind, *, seed: int) -> RewardModel:
    """A reward model on the model in a folder, ready to be trained; everything new in it is drawn from the seed.

    Raises:
        InputError: no model there, or one that the kind does not go with.
    """
    reward_model = RewardModel.from_pretrained(folder, seed=seed)
    # Of one that was normalised: training makes differences of scores log odds again.
    for name in ("score_offset", "score_unit"):
        vars(reward_model.model.config).pop(name, None)
    if kind.train == "lora":
        with_lora(reward_model.model, rank=kind.lora_rank, alpha=2.0 * kind.lora_rank, seed=seed)
    if kind.members > 1:
        return RewardEnsemble.around(reward_model, n_members=kind.members, seed=seed)
    return reward_model


def new_training(
    reward_model: RewardModel, kind: RewardModelKind, rows: Sequence[Row], config: RewardModelConfig, *, seed: int
) -> RewardModelTraining:
    """The training of what the kind says is trained; see `RewardModelTraining` for the errors raised."""
    trained = FrozenTrunk(reward_model) if kind.train == "head" else reward_model
    if kind.members == 1:
        return RewardModelTraining(trained, rows, config, seed=seed)
    loss = MemberLoss(bootstrap_counts(len(rows), kind.members, seed=seed))
    return RewardModelTraining(trained, rows, config, seed=seed, loss=loss)


@torch.no_grad()
def settle_scores(reward_model: RewardModel, kind: RewardModelKind, training: RewardModelTraining) -> None:
    """What preferences leave open: an ensemble's members get a common zero, and all scores a unit if asked for.

    Measured on the completions of the training; with a frozen trunk that takes no further pass.
    """
    if kind.members == 1 and not kind.normalize:
        return
    texts = [ids for row in training.encoded for ids in row]
    scores = by_length(training.reward_model.forward, texts).double().cpu().numpy()
    if kind.normalize:
        reward_model.normalize_by(scores)
    elif isinstance(reward_model, RewardEnsemble):
        reward_model.centre_by(scores)
