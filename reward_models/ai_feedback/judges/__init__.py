"""Judges and revisers of AI feedback (rules, a local language model, an endpoint), and what they are asked.

`Judge` and `Reviser` are protocols; a class of yours that has their members will do.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
