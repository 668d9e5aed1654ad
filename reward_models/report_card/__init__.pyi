from .card import ReportCard as ReportCard, report_card as report_card
from .ceiling import Ceiling as Ceiling
from .limits import Limits as Limits
from .probes import Probe as Probe
from .samples import Gold as Gold, Samples as Samples, score_samples as score_samples
from .scored import Scorer as Scorer
from .weights import weights_digest as weights_digest
