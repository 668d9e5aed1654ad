from .collection import Actor as Actor, collect as collect, collect_in_processes as collect_in_processes
from .comparison import side_by_side as side_by_side
from .sampling import (
    BestCompletion as BestCompletion,
    Completion as Completion,
    best_of_n as best_of_n,
    completion_logprobs as completion_logprobs,
    sample_completions as sample_completions,
)
