"""A linter for preference data: what in a file of labels would mislead a reward model, with the rows that show it."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
