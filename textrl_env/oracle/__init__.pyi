from .model_logprobs import prefix_logprobs as prefix_logprobs
from .soft_dp import (
    Frontier as Frontier,
    LogPolicy as LogPolicy,
    PolicyValue as PolicyValue,
    best_score_within as best_score_within,
    evaluate as evaluate,
    frontier as frontier,
    regret as regret,
    solve as solve,
    uniform_policy as uniform_policy,
)
from .tree import PrefixTree as PrefixTree, prefix_tree as prefix_tree
