from .corpus import PreferenceCorpus as PreferenceCorpus, read_corpus as read_corpus
from .linter import CHECKS as CHECKS, lint as lint
from .report import LintOptions as LintOptions, LintReport as LintReport
from .texts import TokenBudget as TokenBudget
