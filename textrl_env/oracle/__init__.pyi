from .model_logprobs import prefix_logprobs as prefix_logprobs
from .score_frontier import best_score_within as best_score_within, frontier as frontier
from .soft_dp import (
    Evaluation as Evaluation,
    LogPolicy as LogPolicy,
    evaluate as evaluate,
    regret as regret,
    solve as solve,
    uniform_policy as uniform_policy,
)
from .tree import Floats as Floats, Ints as Ints, PrefixTree as PrefixTree, prefix_tree as prefix_tree
