"""The report of an RLHF run: one HTML file that needs nothing but itself.

Importing this package imports matplotlib and jinja2 (not torch); a command line imports it when it is needed.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
