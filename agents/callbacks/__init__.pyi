from .best import KeepBest as KeepBest
from .evaluation import EvaluateOnPrompts as EvaluateOnPrompts
from .hacking import HackingAlarm as HackingAlarm, RewardHackingWarning as RewardHackingWarning
from .joining import MaybeCallback as MaybeCallback, as_callback as as_callback
from .progress import ShowProgress as ShowProgress
from .samples import LogSamples as LogSamples
from .stopping import StopOnKL as StopOnKL
from .tracking import TrackReward as TrackReward
from .verdict import Verdict as Verdict
