"""Training, whatever is trained: optimizer and schedule, the supervised loop, seeds, progress and Ctrl-C."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
