"""The loop of the on-policy algorithms: collect, update, log, save."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
