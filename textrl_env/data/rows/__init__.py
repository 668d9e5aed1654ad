"""Rows of unknown origin: files of every format, the types of their cells, conversations, and rows that are bad."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
