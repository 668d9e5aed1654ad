from .population import (
    RaterPopulation as RaterPopulation,
    SimulatedRater as SimulatedRater,
    sigmoid as sigmoid,
    word_counts as word_counts,
)
from .workers import Worker as Worker, collect_judgements as collect_judgements, make_workers as make_workers
