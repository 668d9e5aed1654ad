"""Resumable stages: their options, the experiment that one is, and the checkpoint that it goes on from."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
