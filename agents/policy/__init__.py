"""The actor-critic language model: its networks, its tokenizer, its export."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
