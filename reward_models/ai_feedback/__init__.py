"""AI feedback (Constitutional AI, Bai et al. 2022): principles, labels by a judge, revisions, what a judge is worth.

Who judges and revises is in `textrl_env.reward_models.ai_feedback.judges`.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
