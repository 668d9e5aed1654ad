from .agreement import cohen_kappa as cohen_kappa
from .comparisons import read_judgements as read_judgements
from .crowd_bt import fit_crowd_bt as fit_crowd_bt
from .desk_judgements import read_desk as read_desk
from .figure import rater_figure as rater_figure
from .labels import (
    majority_labels as majority_labels,
    reliability_labels as reliability_labels,
    weighted_judgements as weighted_judgements,
)
from .plackett_luce import fit_plackett_luce as fit_plackett_luce
from .populations import collect as collect, mixed_workers as mixed_workers
from .report import RaterReport as RaterReport, rater_report as rater_report
from .simulated import (
    RaterPopulation as RaterPopulation,
    SimulatedRater as SimulatedRater,
    sigmoid as sigmoid,
    word_counts as word_counts,
)
from .votes import votes_of as votes_of
