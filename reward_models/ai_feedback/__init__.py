"""AI feedback (Constitutional AI, Bai et al. 2022): principles, judges that compare replies by them, revisions."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
