from . import (
    agent_checker as agent_checker,
    agents as agents,
    oracle as oracle,
    pipeline as pipeline,
    reference as reference,
    report as report,
    reward_models as reward_models,
    sb3 as sb3,
    stats as stats,
    worlds as worlds,
)
from .data.prompts import PromptDataset as PromptDataset
from .errors import InputError as InputError
from .mdp.env import TextGenEnv as TextGenEnv
from .mdp.kl import AdaptiveKL as AdaptiveKL, FixedKL as FixedKL, KLShaping as KLShaping
from .mdp.penalties import (
    LengthPenalty as LengthPenalty,
    MissingEOSPenalty as MissingEOSPenalty,
    RepetitionPenalty as RepetitionPenalty,
)
from .mdp.rewards import RewardFunction as RewardFunction, Weighted as Weighted
from .mdp.vector_env import TextGenVectorEnv as TextGenVectorEnv
from .registry import register_environments as register_environments
