"""Callbacks for `learn`, in Stable-Baselines3's form.

Those that log at the end of a rollout stand before those that read what was logged: `EvaluateOnPrompts` and
`TrackReward` before `KeepBest`. The log's numbers are those of the policy that wrote the rollout, before its update.
"""

from textrl_env.agents.callbacks.best import KeepBest
from textrl_env.agents.callbacks.evaluation import EvaluateOnPrompts
from textrl_env.agents.callbacks.hacking import HackingAlarm, RewardHackingWarning
from textrl_env.agents.callbacks.joining import MaybeCallback, as_callback
from textrl_env.agents.callbacks.progress import ShowProgress
from textrl_env.agents.callbacks.samples import LogSamples
from textrl_env.agents.callbacks.stopping import StopOnKL
from textrl_env.agents.callbacks.tracking import TrackReward
from textrl_env.agents.callbacks.verdict import Verdict

__all__ = [
    "EvaluateOnPrompts",
    "HackingAlarm",
    "KeepBest",
    "LogSamples",
    "MaybeCallback",
    "RewardHackingWarning",
    "ShowProgress",
    "StopOnKL",
    "TrackReward",
    "Verdict",
    "as_callback",
]
