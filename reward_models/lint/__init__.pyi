from .case import read_case as read_case
from .checks import lint as lint
from .finding import Finding as Finding, LintReport as LintReport
from .options import LintOptions as LintOptions
from .tokens import Limit as Limit
