"""Text generation as reinforcement learning: a Gymnasium environment with KL shaping and ground truth.

Importing this package needs gymnasium and numpy only; torch is loaded by the modules that hold a model.
"""

from textrl_env.env import TextGenEnv
from textrl_env.errors import InputError
from textrl_env.kl import AdaptiveKL, FixedKL, KLShaping
from textrl_env.prompts import PromptDataset
from textrl_env.registry import register_environments
from textrl_env.rewards import LengthPenalty, MissingEOSPenalty, RepetitionPenalty, RewardFunction, Weighted
from textrl_env.vector_env import TextGenVectorEnv

__all__ = [
    "AdaptiveKL",
    "FixedKL",
    "InputError",
    "KLShaping",
    "LengthPenalty",
    "MissingEOSPenalty",
    "PromptDataset",
    "RepetitionPenalty",
    "RewardFunction",
    "TextGenEnv",
    "TextGenVectorEnv",
    "Weighted",
]

register_environments()
