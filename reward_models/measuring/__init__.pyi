from .against_raters import accuracy_against_raters as accuracy_against_raters
from .quality import (
    PairScores as PairScores,
    accuracy as accuracy,
    calibration as calibration,
    expected_calibration_error as expected_calibration_error,
    pair_correctness as pair_correctness,
    quality_report as quality_report,
    rating_report as rating_report,
    score_pairs as score_pairs,
)
from .ratings import rankings_from_ratings as rankings_from_ratings
