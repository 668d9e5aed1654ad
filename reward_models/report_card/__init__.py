"""The report card of a reward model: what it knows, what it only seems to know, and whether to train with it."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
