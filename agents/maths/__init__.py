"""The formulas of the algorithms as functions of tensors: advantages and losses."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
