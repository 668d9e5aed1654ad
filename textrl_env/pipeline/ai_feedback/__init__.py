"""The stages of AI feedback: labels by a judge in the place of people, and replies revised by a constitution."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
