"""Data as people have them: prompt datasets, rows of files, and the faults of rows."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
