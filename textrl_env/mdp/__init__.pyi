from .env import TextGenEnv as TextGenEnv
from .kl import AdaptiveKL as AdaptiveKL, Estimator as Estimator, FixedKL as FixedKL, KLShaping as KLShaping
from .rewards import (
    LengthPenalty as LengthPenalty,
    MissingEOSPenalty as MissingEOSPenalty,
    RepetitionPenalty as RepetitionPenalty,
    RewardCallable as RewardCallable,
    RewardFunction as RewardFunction,
    RewardSource as RewardSource,
    RewardSum as RewardSum,
    Weighted as Weighted,
)
from .task import TextGenTask as TextGenTask
from .vector_env import TextGenVectorEnv as TextGenVectorEnv
