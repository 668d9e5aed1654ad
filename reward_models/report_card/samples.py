"""Samples: completions with their scores and gold, the best-of-n curve of a pool of them, and the favourites."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textrl_env.errors import InputError
from textrl_env.reward_models.report_card.scores import Floats, Ints, Scorer, score_members
from textrl_env.stats import Estimate, bootstrap_estimate, estimate_mean
from textrl_env.stats.comparison import best_of_n_kl, chance_of_best

Gold = Callable[[list[str], list[str]], Sequence[float]]
"""The world's true reward: prompts, completions -> a number each."""


@dataclass(frozen=True)
class Samples:
    """m completions for each of P prompts.

    Attributes:
        prompts: (P,) texts.
        completions: P lists of m texts.
        scores: (P, m) of the reward model.
        gold: (P, m) the true reward; None where it is not known.
        members: (P, m, K) scores of an ensemble's members, or None.
    """

    prompts: Sequence[Any]
    completions: Sequence[Sequence[str]]
    scores: Floats
    gold: Floats | None
    members: Floats | None

    def select(self, columns: Ints) -> "Samples":
        """Selects, of each prompt, the completions at (P, k) of its m places."""
        rows = np.arange(len(self.prompts))[:, None]
        return Samples(
            self.prompts,
            [[texts[at] for at in places] for texts, places in zip(self.completions, columns.tolist(), strict=True)],
            self.scores[rows, columns],
            None if self.gold is None else self.gold[rows, columns],
            None if self.members is None else self.members[rows, columns],
        )


def score_samples(
    scorer: Scorer, prompts: Sequence[Any], completions: Sequence[Sequence[str]], *, gold: Gold | None
) -> Samples:
    """Scores equally many completions for each prompt, each distinct text once."""
    m = len(completions[0])
    if any(len(texts) != m for texts in completions):
        raise InputError("score_samples needs equally many completions of each prompt")
    index: dict[tuple[Any, str], int] = {}
    at = np.array(
        [
            [index.setdefault((prompt, text), len(index)) for text in texts]
            for prompt, texts in zip(prompts, completions, strict=True)
        ]
    )
    all_prompts, texts = [prompt for prompt, _ in index], [text for _, text in index]
    members = score_members(scorer, all_prompts, texts)
    return Samples(
        list(prompts),
        completions,
        np.asarray(scorer.score(all_prompts, texts), dtype=np.float64)[at],
        None if gold is None else np.asarray(gold(all_prompts, texts), dtype=np.float64)[at],
        None if members is None else members[at],
    )


@dataclass(frozen=True)
class BestOfN:
    """Choosing by the reward model for one n: expectations over all subsets of size n of the pool."""

    n: int
    kl: float
    """log n - (n - 1) / n nats: what the choice costs at most."""
    proxy: float
    gold: Estimate | None
    """Gold of the completion that the reward model chooses; None where it is not known."""
    gold_best: float | None
    """Gold of the completion that gold would choose."""


@dataclass(frozen=True)
class BestOfNCurve:
    """Best-of-n from n = 1, the policy itself, to the largest n."""

    points: tuple[BestOfN, ...]
    n_prompts: int
    pool: int
    """Completions per prompt that the expectations are over."""
    efficiency: Estimate | None
    """Gold gained at the largest n, as a share of what choosing by gold gains; NaN where nothing can be gained."""


def measure_best_of_n(pool: Samples, *, rng: np.random.Generator) -> BestOfNCurve:
    """Measures n = 1, 2, 4, … up to a quarter of the pool, beyond which subsets are too much alike."""
    m = pool.scores.shape[1]
    points = []
    by_proxy = by_gold = pool.gold
    n = 1
    while n <= max(1, m // 4):
        chances = chance_of_best(pool.scores, n)
        gold = gold_best = None
        if pool.gold is not None:
            by_proxy = (chances * pool.gold).sum(axis=1)
            by_gold = (chance_of_best(pool.gold, n) * pool.gold).sum(axis=1)
            gold = estimate_mean(by_proxy, np.arange(len(by_proxy)), rng=rng)
            gold_best = float(by_gold.mean())
        points.append(BestOfN(n, best_of_n_kl(n), float((chances * pool.scores).sum(axis=1).mean()), gold, gold_best))
        n *= 2
    efficiency = None
    if pool.gold is not None and by_proxy is not None and by_gold is not None and len(points) > 1:
        base = pool.gold.mean(axis=1)
        efficiency = _estimate_efficiency(by_proxy - base, by_gold - base, rng)
    return BestOfNCurve(tuple(points), len(pool.prompts), m, efficiency)


def _estimate_efficiency(gain: Floats, possible: Floats, rng: np.random.Generator) -> Estimate:
    def share(rows: Ints) -> float:
        whole = float(possible[rows].mean())
        return float(gain[rows].mean()) / whole if whole > 1e-9 else float("nan")

    return bootstrap_estimate(share, np.arange(len(gain)), rng=rng, resamples=500)


def list_favourites(pool: Samples, n: int = 5) -> list[dict[str, Any]]:
    """Lists the n best-scoring completions, one of each prompt.

    Where gold is known, those whose score is farthest above their gold, each in its standard deviations.
    """
    rows = np.arange(len(pool.prompts))
    best = pool.scores.argmax(axis=1)
    excess = pool.scores[rows, best]
    if pool.gold is not None:
        excess = _standardise(pool.scores)[rows, best] - _standardise(pool.gold)[rows, best]
    return [
        {
            "prompt": str(pool.prompts[row]),
            "completion": pool.completions[row][best[row]],
            "score": float(pool.scores[row, best[row]]),
            "gold": None if pool.gold is None else float(pool.gold[row, best[row]]),
        }
        for row in np.argsort(-excess, kind="stable")[:n].tolist()
    ]


def _standardise(values: Floats) -> Floats:
    spread = values.std()
    result: Floats = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return result
