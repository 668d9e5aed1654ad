from .comparison import side_by_side as side_by_side
from .gathering import gather as gather
from .sampling import (
    Completion as Completion,
    completion_logprobs as completion_logprobs,
    sample_completions as sample_completions,
)
from .selection import best_of_n as best_of_n
