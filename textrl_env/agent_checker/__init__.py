"""A check that an algorithm is right: a ladder of tiny worlds with exact answers, for any agent; see `check_agent`."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
