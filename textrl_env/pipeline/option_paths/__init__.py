"""Paths among options: what each is for, and the check of all of them before a command starts."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
