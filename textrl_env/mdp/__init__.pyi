from .binding import RewardCallable as RewardCallable
from .env import TextGenEnv as TextGenEnv
from .kl import Estimator as Estimator, KLShaping as KLShaping
from .reference_logprobs import Reference as Reference
from .repricing import Episode as Episode, RecordEpisodes as RecordEpisodes, reprice as reprice
from .rewards import RewardSource as RewardSource, RewardSum as RewardSum
from .task import TextGenTask as TextGenTask
from .vector_env import TextGenVectorEnv as TextGenVectorEnv
