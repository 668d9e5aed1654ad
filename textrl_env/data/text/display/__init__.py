"""Texts for people: a message's, a token's, and characters that are safe to print."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
