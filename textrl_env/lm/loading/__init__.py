"""Models and tokenizers from folders, or from the Hugging Face hub, that may come from a stranger: nothing is run."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
