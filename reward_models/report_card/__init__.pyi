from .accuracy import Ceiling as Ceiling
from .card import ReportCard as ReportCard, report_card as report_card
from .card_file import CARD as CARD, PAGE as PAGE, CardLimits as CardLimits, weights_digest as weights_digest
from .probes import Probe as Probe
from .samples import Gold as Gold, Samples as Samples, score_samples as score_samples
from .scores import Scorer as Scorer
