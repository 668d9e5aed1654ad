"""Text generation as reinforcement learning: a Gymnasium environment with KL shaping and ground truth.

Importing this package needs gymnasium and numpy only; torch is loaded by the modules that hold a model.
"""

from lazy_loader import attach_stub

from textrl_env.registry import register_environments

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

register_environments()
