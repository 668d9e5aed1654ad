"""Is a score the text's own? The same texts alone, in other batches, in another order and beside longer ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from textrl_env.reward_models.report_card.scored import Floats, Scorer


@dataclass(frozen=True)
class Invariance:
    """Largest changes of a score, in standard deviations of the scores; 0 would be exact."""

    batch: float
    """Scored one by one instead of together."""
    order: float
    """Together, in the opposite order."""
    padding: float
    """Each beside the longest text."""
    repeat: float
    """Once more, the same way: dropout and other noise."""
    n_texts: int

    @property
    def largest(self) -> float:
        """Of all four."""
        return max(self.batch, self.order, self.padding, self.repeat)


def measure_invariance(
    scorer: Scorer, prompts: Sequence[str], completions: Sequence[str], *, scale: float
) -> Invariance:
    """Scores the texts five times.

    Args:
        prompts, completions: B texts, of different lengths.
        scale: the standard deviation of the model's scores; 0 is taken for 1.
    """
    texts = list(zip(prompts, completions, strict=True))
    longest = max(texts, key=lambda text: len(text[0]) + len(text[1]))
    together = _scores(scorer, texts)

    def change(values: Floats) -> float:
        return float(np.abs(values - together).max()) / (scale or 1.0)

    def one_by_one(companions: Callable[[tuple[str, str]], list[tuple[str, str]]]) -> Floats:
        return np.array([_scores(scorer, companions(text))[0] for text in texts])

    return Invariance(
        batch=change(one_by_one(lambda text: [text])),
        order=change(_scores(scorer, texts[::-1])[::-1]),
        padding=change(one_by_one(lambda text: [text, longest])),
        repeat=change(_scores(scorer, texts)),
        n_texts=len(texts),
    )


def _scores(scorer: Scorer, texts: Sequence[tuple[str, str]]) -> Floats:
    prompts, completions = zip(*texts, strict=True)
    return np.asarray(scorer.score(list(prompts), list(completions)), dtype=np.float64)
