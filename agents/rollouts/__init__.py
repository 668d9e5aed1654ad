"""Whole completions: rollouts collected from an environment, samples of a policy, two policies side by side."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
