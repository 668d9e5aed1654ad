"""Text and token ids, both ways: conversations, encoding, decoding, and the tokens that end a completion."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
