from .agreement import cohen_kappa as cohen_kappa
from .comparisons import Comparison as Comparison, read_judgements as read_judgements
from .crowd_bt import fit_crowd_bt as fit_crowd_bt
from .labels import (
    label_by_majority as label_by_majority,
    label_by_reliability as label_by_reliability,
    weigh_judgements as weigh_judgements,
)
from .plackett_luce import fit_plackett_luce as fit_plackett_luce
from .report import RaterReport as RaterReport, report_raters as report_raters
from .report_files import save_rater_report as save_rater_report
from .votes import tally_votes as tally_votes
