"""The report of an RLHF run: one HTML file that needs nothing but itself.

Importing this package imports matplotlib and jinja2 (not torch); a command line imports it when it is needed.
"""

from textrl_env.report.page import learning_curve, write_report

__all__ = ["learning_curve", "write_report"]
