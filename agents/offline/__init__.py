"""Algorithms that learn from rows of data: SFT, DPO, KTO."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
