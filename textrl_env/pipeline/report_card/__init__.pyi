from .card import require_passed as require_passed, write_report_card as write_report_card
from .options import ReportCardFiles as ReportCardFiles, ReportCardOptions as ReportCardOptions
