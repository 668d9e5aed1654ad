"""Several processes that train one model: their numbers, whole and sharded parameters."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
