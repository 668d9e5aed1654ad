"""How far do real people agree? The report on raters, of film-review snippets that 15 to 29 people scored from -4 to 4.

The data is that of `examples/movie_reviews.py`, downloaded once (2.5 MB). It has no names; that the j-th score of each
of a panel's 30 snippets is from one person is our inference (see `data/movie_reviews.py`). You will see how
far all agree, and which raters would not be told from chance.

Takes about 40 seconds on one CPU core for the first 100 of 354 panels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from data.movie_reviews import load_rated_texts

from textrl_env.reward_models import write_preferences
from textrl_env.reward_models.feedback.raters import read_judgements, report_raters, save_rater_report


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    n_panels: int = 100
    """How many panels of 30 snippets; there are 354."""
    out: Path = Path("runs/human_raters")
    """Where ratings.jsonl, raters.json and raters.png go."""


def main(args: Args) -> dict[str, Any]:
    """Writes the ratings, judges them as `textrl raters OUT/ratings.jsonl` does, and returns raters.json."""
    rows = [
        {
            "prompt": f"panel {text.panel:03d}",
            "completion": text.text,
            "rating": score,
            "annotator": f"{text.panel:03d}-{rater:02d}",
        }
        for text in load_rated_texts("movie_reviews")
        if text.panel is not None and text.panel < args.n_panels
        for rater, score in enumerate(text.ratings)
    ]
    judgements = read_judgements(write_preferences(args.out / "ratings.jsonl", rows))
    report = report_raters(judgements, rng=np.random.default_rng(0))
    figures, picture = save_rater_report(report, args.out)
    for agreement in report.agreement:
        print(f"{agreement.name}: {agreement.value:.2f} ({agreement.low:.2f} to {agreement.high:.2f})")
    print(f"all figures are in {figures}, the plot is {picture}")
    return report.as_dict()


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
