"""Simulated people, whose noise, taste and habits are known: raters, populations of them, and workers."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
