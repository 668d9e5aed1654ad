"""People's feedback: the labelling desk, the store behind it, its files, and judging the people who gave it."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
