"""Checks of models and data: a question, the finding that answers it, and how a list of them is run."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
