"""The labelling desk: who is asked what next, the answers, the dashboard's figures, and the desk in a terminal."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
