"""How far do real people agree? The report on raters, of film-review snippets that 15 to 29 people scored from -4 to 4.

The data is that of `examples/movie_reviews.py`, downloaded once (2.5 MB). It has no names; that the j-th score of each
of a panel's 30 snippets is from one person is our inference (see `data/movie_reviews.py`). You will see how
far all agree, and which raters would not be told from chance.

Takes about 40 seconds on one CPU core for the first 100 of 354 panels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from data.movie_reviews import load_rated_texts

from textrl_env.cli.raters import Raters
from textrl_env.pipeline.runs import read_json
from textrl_env.reward_models import write_preferences


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
    Raters(write_preferences(args.out / "ratings.jsonl", rows), out=args.out).run()
    return read_json(args.out / "raters.json")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
