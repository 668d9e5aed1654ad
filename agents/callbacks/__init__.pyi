from .early_stopping import KeepBest as KeepBest, StopOnKL as StopOnKL
from .evaluation import EvaluateOnPrompts as EvaluateOnPrompts
from .log_readers import (
    HackingAlarm as HackingAlarm,
    RewardHackingWarning as RewardHackingWarning,
    SayVerdict as SayVerdict,
)
from .progress import MaybeCallback as MaybeCallback, ShowProgress as ShowProgress, as_callback as as_callback
from .samples import LogSamples as LogSamples, TrackReward as TrackReward
