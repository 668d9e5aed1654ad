"""Sampled completions of prompts with what is known of them, and the best-of-n curve of a pool of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from textrl_env.errors import InputError
from textrl_env.reward_models.report_card.scored import Floats, Ints, Scorer, members_of
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

    prompts: Sequence[str]
    completions: Sequence[Sequence[str]]
    scores: Floats
    gold: Floats | None
    members: Floats | None

    def chosen(self, columns: Ints) -> "Samples":
        """Of each prompt the completions at (P, k) of its m places."""
        rows = np.arange(len(self.prompts))[:, None]
        return Samples(
            self.prompts,
            [[own[at] for at in places] for own, places in zip(self.completions, columns.tolist(), strict=True)],
            self.scores[rows, columns],
            None if self.gold is None else self.gold[rows, columns],
            None if self.members is None else self.members[rows, columns],
        )


def score_samples(
    scorer: Scorer, prompts: Sequence[str], completions: Sequence[Sequence[str]], *, gold: Gold | None
) -> Samples:
    """Scores equally many completions for each prompt, each distinct text once."""
    m = len(completions[0])
    if any(len(own) != m for own in completions):
        raise InputError("score_samples needs equally many completions of each prompt")
    index: dict[tuple[str, str], int] = {}
    at = np.array([
        [index.setdefault((prompt, text), len(index)) for text in own]
        for prompt, own in zip(prompts, completions, strict=True)
    ])  # fmt: skip
    all_prompts, texts = [prompt for prompt, _ in index], [text for _, text in index]
    members = members_of(scorer, all_prompts, texts)
    return Samples(
        list(prompts),
        completions,
        np.asarray(scorer.score(all_prompts, texts), dtype=np.float64)[at],
        None if gold is None else np.asarray(gold(all_prompts, texts), dtype=np.float64)[at],
        None if members is None else members[at],
    )


@dataclass(frozen=True)
class BestOfN:
    """What choosing by the reward model does, for one n. Expectations over all subsets of size n of the pool."""

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


def best_of_n_curve(pool: Samples, *, rng: np.random.Generator) -> BestOfNCurve:
    """For n = 1, 2, 4, … up to a quarter of the pool, beyond which subsets are too much alike."""
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
            gold, gold_best = _mean_over_prompts(by_proxy, rng), float(by_gold.mean())
        points.append(BestOfN(n, best_of_n_kl(n), float((chances * pool.scores).sum(axis=1).mean()), gold, gold_best))
        n *= 2
    efficiency = None
    if pool.gold is not None and by_proxy is not None and by_gold is not None and len(points) > 1:
        base = pool.gold.mean(axis=1)
        efficiency = _efficiency(by_proxy - base, by_gold - base, rng)
    return BestOfNCurve(tuple(points), len(pool.prompts), m, efficiency)


def _mean_over_prompts(values: Floats, rng: np.random.Generator) -> Estimate:
    return estimate_mean(values, np.arange(len(values)), rng=rng)


def _efficiency(gained: Floats, possible: Floats, rng: np.random.Generator) -> Estimate:
    def share(rows: Ints) -> float:
        whole = float(possible[rows].mean())
        return float(gained[rows].mean()) / whole if whole > 1e-9 else float("nan")

    return bootstrap_estimate(share, np.arange(len(gained)), rng=rng, resamples=500)
