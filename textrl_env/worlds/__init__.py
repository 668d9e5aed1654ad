"""Built-in worlds: text tasks with a known gold reward, small enough to train on a laptop CPU.

Each world has a Gymnasium id (`textrl_env.registry`), and `World` says what all of them have. The support desk is a
package of its own, `from textrl_env.worlds import support_desk`.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
