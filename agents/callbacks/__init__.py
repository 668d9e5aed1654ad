"""Callbacks for `learn`, in Stable-Baselines3's form.

Those that log at the end of a rollout stand before those that read what was logged: `EvaluateOnPrompts` and
`TrackReward` before `KeepBest`. The log's numbers are those of the policy that wrote the rollout, before its update.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
