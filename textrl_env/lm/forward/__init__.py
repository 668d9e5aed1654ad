"""Forwards of language models: packed sequences, cached decoding, logits and log-probabilities."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
