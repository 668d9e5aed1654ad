"""Preferences, the people who give them, and the reward models that learn them.

Names are loaded when they are first used: the options of the command line must not wait for torch.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
