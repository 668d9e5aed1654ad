"""Judging real raters: how far they agree, which of them to believe, and labels that follow from that."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
