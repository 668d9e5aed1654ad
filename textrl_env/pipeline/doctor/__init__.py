"""The doctor: checks of models, tokenizers and prompts that are quick now and expensive to fail in training."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
