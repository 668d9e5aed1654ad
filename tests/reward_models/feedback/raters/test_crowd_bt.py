"""Crowd-BT: its posterior against an exact integral, and what it finds in simulated populations."""

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models import preferences_of
from textrl_env.reward_models.feedback.raters import (
    Comparison,
    fit_crowd_bt,
    label_by_majority,
    label_by_reliability,
    tally_votes,
)
from textrl_env.reward_models.feedback.raters.votes import Votes
from textrl_env.reward_models.feedback.simulated_raters import SimulatedRater, Worker, collect_judgements, make_workers


def stated(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
    """The utility is written on the text."""
    return [float(text) for text in completions]


def simulated(workers: tuple[Worker, ...], *, n_prompts: int, k: int, overlap: int, seed: int) -> Votes:
    rng = np.random.default_rng(seed)
    texts = [[f"{value:.6f}" for value in rng.random(k)] for _ in range(n_prompts)]
    rows = collect_judgements(workers, [str(i) for i in range(n_prompts)], texts, stated, overlap=overlap, rng=rng)
    return tally_votes([Comparison(row["annotator"], row["prompt"], tuple(row["ranking"]), row["tie"]) for row in rows])


def test_posterior_of_a_small_case_is_the_integral() -> None:
    """Two raters, one pair each way, one pair on which they agree: four unknowns, integrated on a grid."""
    votes = tally_votes(
        [
            Comparison("a", "p", ("x", "y")),
            Comparison("b", "p", ("y", "x")),
            Comparison("a", "q", ("x", "y")),
            Comparison("b", "q", ("x", "y")),
        ]
    )
    fit = fit_crowd_bt(votes, rng=np.random.default_rng(0), trust=(3.0, 1.0), draws=20_000, warm_up=200)

    eta = (np.arange(200) + 0.5) / 200
    difference = np.linspace(-14, 14, 561)  # of two normals of spread 2: variance 8
    p = 1 / (1 + np.exp(-difference))
    first = eta[:, None] * p + (1 - eta[:, None]) * (1 - p)  # (eta, difference): "x is better"
    density = np.exp(-(difference**2) / 16)
    prior = eta**2  # beta(3, 1)
    weight = np.outer(prior, prior) * ((first * density) @ (1 - first).T) * ((first * density) @ first.T)
    weight /= weight.sum()
    # The two raters' answers mirror each other; neighbouring draws are alike, so 20,000 count as some hundreds.
    assert fit.reliability.mean() == pytest.approx((weight.sum(axis=1) * eta).sum(), abs=0.02)
    spread = np.sqrt((weight.sum(axis=1) * eta**2).sum() - (weight.sum(axis=1) * eta).sum() ** 2)
    assert fit.reliability.std() == pytest.approx(spread, abs=0.02)
    inner = np.einsum(
        "ad,bd,d,ab->d", first, first, density, np.outer(prior, prior) * ((first * density) @ (1 - first).T)
    )
    x, y = (votes.items.index(("q", text)) for text in "xy")
    assert fit.preference(np.array([x]), np.array([y]))[0] == pytest.approx((inner * p).sum() / inner.sum(), abs=0.02)


@pytest.mark.parametrize(("k", "overlap"), [(2, 5), (4, 3)])
def test_adversaries_and_careless_raters_are_found(k: int, overlap: int) -> None:
    votes = simulated(make_workers(6, 3, 3), n_prompts=300, k=k, overlap=overlap, seed=k)
    fit = fit_crowd_bt(votes, rng=np.random.default_rng(0))
    eta = dict(zip(votes.raters, fit.reliability.mean(axis=0), strict=True))
    for name, value in eta.items():
        low, high = {"honest": (0.85, 1.0), "careless": (0.35, 0.68), "adversarial": (0.0, 0.2)}[name[:-3]]
        assert low <= value <= high, (name, value)


def test_intervals_cover_what_lazy_raters_do() -> None:
    """A rater who answers at random with probability L states what they see with probability 1 - L / 2."""
    inside = []
    for seed in range(12):
        lazy = [0.2 + 0.1 * (number % 6) for number in range(8)]
        workers = tuple(Worker(SimulatedRater(f"r{i}", 0.02), laziness=value) for i, value in enumerate(lazy))
        votes = simulated(workers, n_prompts=150, k=2, overlap=4, seed=seed)
        low, high = fit_crowd_bt(votes, rng=np.random.default_rng(seed), spread=8.0).interval()
        truth = 1 - np.array(lazy) / 2
        inside.append((low < truth) & (truth < high))
    assert 0.88 <= np.mean(inside) <= 0.99


def test_labels_that_weigh_the_raters_are_right_where_the_majority_is_not() -> None:
    votes = simulated(make_workers(6, 3, 3), n_prompts=300, k=3, overlap=3, seed=1)
    by_majority = label_by_majority(votes)
    weighed = label_by_reliability(votes, fit_crowd_bt(votes, rng=np.random.default_rng(0)))

    def right(rows: list[dict[str, object]]) -> float:
        share = []
        for preference in preferences_of(rows):
            values = np.array([float(text) for text in preference.ranking])
            better, worse = np.triu_indices(len(values), 1)
            side = np.sign(values[better] - values[worse]) * np.sign(np.array(preference.pair_probabilities) - 0.5)
            share += ((1 + side) / 2).tolist()
        return float(np.mean(share))

    assert right(by_majority) < 0.75
    assert right(weighed) > right(by_majority) + 0.1


def test_majority_labels_by_hand() -> None:
    votes = tally_votes(
        [
            Comparison("a", "p", ("x", "y", "z")),
            Comparison("b", "p", ("x", "z", "y")),
            Comparison("c", "p", ("y", "x", "z")),
            Comparison("a", "q", ("s", "t"), tie=True),
        ]
    )
    assert label_by_majority(votes) == [
        {"prompt": "p", "chosen": "x", "rejected": "z", "ranking": ["x", "y", "z"], "soft_labels": [1.0, 1.0, 1.0]},
        {"prompt": "q", "chosen": "s", "rejected": "t", "ranking": ["s", "t"], "soft_labels": [0.5]},
    ]


def test_a_tie_says_nothing_about_its_rater() -> None:
    agreeing = [Comparison(name, str(i), ("x", "y")) for i in range(20) for name in "ab"]
    ties = [Comparison("c", str(i), ("x", "y"), tie=True) for i in range(20)]
    votes = tally_votes([*agreeing, *ties])
    fit = fit_crowd_bt(votes, rng=np.random.default_rng(0), trust=(4.0, 1.0), draws=4000)
    # The prior's mean: 4 / 5.
    assert fit.reliability.mean(axis=0)[2] == pytest.approx(0.8, abs=0.03)
    assert fit.reliability.mean(axis=0)[0] > 0.9


def test_impossible_options_are_named() -> None:
    votes = tally_votes([Comparison("a", "p", ("x", "y"))])
    for options, name in (({"trust": (0.0, 1.0)}, "trust_true"), ({"spread": 0.0}, "spread"), ({"draws": 0}, "draws")):
        with pytest.raises(InputError, match=name):
            fit_crowd_bt(votes, rng=np.random.default_rng(0), **options)  # type: ignore[arg-type]
