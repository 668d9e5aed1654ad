"""Options of supervised fine-tuning; no torch, so that the command line can show them at once."""

from dataclasses import dataclass

from textrl_env.agents.offline.configs import RowTrainingConfig


@dataclass(frozen=True)
class SFTConfig(RowTrainingConfig):
    """Options of `textrl_env.agents.offline.sft.train_sft`; its rows are demonstrations."""
