"""A run's folder: its files, its models, and what a stage records in it."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
