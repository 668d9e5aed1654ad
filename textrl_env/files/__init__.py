"""Files and folders on the disk: written whole or not at all, digested, and locked by the process that writes them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
