"""The records of a labelling desk (items, judgements, the log of events) and the database that keeps them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
