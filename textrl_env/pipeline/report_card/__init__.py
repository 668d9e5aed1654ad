"""The report card of a reward model: made beside it, and asked for before a policy is trained on it."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
