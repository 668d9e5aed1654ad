"""Planted truth, spoilt labels: what weights, smoothing, ties and ordered categories are for.

The model is as small as can be, a worth for every letter, so that what is learnt is the loss's doing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from textrl_env.reward_models import Preference, RewardModelConfig, preferences_of
from textrl_env.reward_models.feedback.raters import Comparison, fit_crowd_bt, tally_votes, weigh_judgements
from textrl_env.reward_models.training import RewardModelTraining
from textrl_env.reward_models.training_rows import RatedCompletion, TrainingRow

LETTERS = 60
FIRST = ord("A")


class LetterWorths:
    """Scores a text by the mean worth of its letters: all that `RewardModelTraining` asks of what it trains."""

    def __init__(self) -> None:
        self.model = torch.nn.EmbeddingBag(LETTERS, 1, mode="mean")
        torch.nn.init.zeros_(self.model.weight)

    def encode(self, prompt: Any, completion: str, *, where: str = "") -> list[int]:
        return [ord(letter) - FIRST for letter in completion]

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        scores: Tensor = self.model(torch.tensor(sequences))[:, 0]
        return scores

    def save_pretrained(self, path: str | Path) -> None:
        raise NotImplementedError

    def load_parameters(self, path: str | Path) -> None:
        raise NotImplementedError


def texts(n: int, rng: np.random.Generator) -> list[str]:
    return ["".join(chr(FIRST + letter) for letter in row) for row in rng.integers(LETTERS, size=(n, 12))]


def worths(rng: np.random.Generator, *, scale: float = 6.0) -> Any:
    """Text -> its true utility, about normal with a standard deviation of scale / √12."""
    letter = rng.normal(size=LETTERS) * scale
    return lambda text: float(np.mean([letter[ord(each) - FIRST] for each in text]))


def trained(rows: Sequence[TrainingRow], *, seed: int = 0, **options: Any) -> RewardModelTraining:
    config = {"n_epochs": 15, "batch_size": 50, "learning_rate": 0.3, "weight_decay": 0.0} | options
    training = RewardModelTraining(LetterWorths(), rows, RewardModelConfig(**config), seed=seed)
    training.run()
    return training


@torch.no_grad()
def scores(training: RewardModelTraining, judged: list[str]) -> np.ndarray:
    model = training.reward_model
    found: np.ndarray = model.forward([model.encode("", text) for text in judged]).double().numpy()
    return found


def gold_pairs(utility: Any, n: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Texts of which the first is truly better."""
    pairs = zip(texts(n, rng), texts(n, rng), strict=True)
    better, worse = zip(*(sorted(pair, key=utility, reverse=True) for pair in pairs), strict=True)
    return list(better), list(worse)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_weights_by_reliability_beat_plain_training_where_three_labels_of_ten_are_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    utility = worths(rng)
    judgements = []
    for pair in zip(*gold_pairs(utility, 200, rng), strict=True):
        # Of ten raters three say the opposite; three of the ten judge a pair.
        for rater in rng.permutation(10)[:3]:
            judgements.append(Comparison(f"{rater}", "", pair if rater >= 3 else pair[::-1]))
    votes = tally_votes(judgements)
    reliability = fit_crowd_bt(votes, rng=rng).reliability.mean(axis=0)
    rows = weigh_judgements(judgements, dict(zip(votes.raters, reliability.tolist(), strict=True)))
    better, worse = gold_pairs(utility, 1000, rng)
    accuracy = {}
    for name, used in (("weighted", rows), ("plain", [row | {"weight": 1.0} for row in rows])):
        training = trained(preferences_of(used), seed=seed)
        accuracy[name] = float((scores(training, better) > scores(training, worse)).mean())
    assert accuracy["weighted"] > accuracy["plain"] + 0.05 and accuracy["weighted"] > 0.83


@pytest.mark.parametrize("seed", range(3))
def test_smoothing_is_less_sure_where_wrong_labels_can_be_learnt_by_heart(seed: int) -> None:
    """50 pairs, 60 worths, three labels of ten wrong: plain training satisfies each label, and is sure of itself."""
    rng = np.random.default_rng(seed)
    utility = worths(rng)
    pairs = zip(*gold_pairs(utility, 50, rng), strict=True)
    rows = [Preference("", pair if rng.random() > 0.3 else pair[::-1]) for pair in pairs]
    better, worse = gold_pairs(utility, 1000, rng)
    log_loss, widest = {}, {}
    for smoothing in (0.0, 0.3):
        training = trained(rows, seed=seed, n_epochs=200, label_smoothing=smoothing)
        difference = scores(training, better) - scores(training, worse)
        log_loss[smoothing] = float(np.logaddexp(0, -difference).mean())
        own = scores(training, [row.ranking[0] for row in rows]) - scores(training, [row.ranking[1] for row in rows])
        widest[smoothing] = float(np.abs(own).max())
    # sigmoid(0.85) = 0.7: no label is believed further than that.
    assert widest[0.3] < 1.5 < 3 < widest[0.0]
    assert log_loss[0.3] < log_loss[0.0] - 0.3


@pytest.mark.slow
def test_ties_are_learnt_as_often_as_people_give_them() -> None:
    rng = np.random.default_rng(0)
    utility, log_tie = worths(rng), 0.5
    rows: list[TrainingRow] = []
    for first, second in zip(texts(3000, rng), texts(3000, rng), strict=True):
        half = (utility(first) - utility(second)) / 2
        drawn = int(np.argmax(np.array([half, -half, log_tie]) + rng.gumbel(size=3)))
        rows.append(
            Preference("", [(first, second), (second, first), (first, second)][drawn], 0.5 if drawn == 2 else 1)
        )
    training = trained(rows, loss="davidson")
    judged = texts(500, rng)
    true = np.array([utility(text) for text in judged])
    # The log-worths are those of the truth, in their own units.
    slope = np.polyfit(true, scores(training, judged), 1)[0]
    assert training.describe_loss()["log_tie"] == pytest.approx(log_tie, abs=0.15)
    assert slope == pytest.approx(1.0, abs=0.1)
    # Ties as even labels teach the same order on a smaller scale.
    halves = trained(rows, loss="pairs")
    assert np.corrcoef(true, scores(halves, judged))[0, 1] > 0.97
    assert np.polyfit(true, scores(halves, judged), 1)[0] < 0.9


@pytest.mark.slow
def test_ordered_categories_are_found_where_their_steps_are_uneven() -> None:
    rng = np.random.default_rng(0)
    utility, cutpoints = worths(rng), [-3.0, -2.0, 2.0, 2.5]
    rows = [
        RatedCompletion("", text, 1.0 + int(np.digitize(utility(text) + rng.logistic(), cutpoints)))
        for text in texts(3000, rng)
    ]
    ordinal, regression = trained(rows, loss="ordinal"), trained(rows)
    judged = texts(500, rng)
    true = np.array([utility(text) for text in judged])
    # Only differences of scores and cutpoints are known: the widths of the categories, and the slope.
    np.testing.assert_allclose(np.diff(ordinal.describe_loss()["cutpoints"]), np.diff(cutpoints), atol=0.3)
    assert np.polyfit(true, scores(ordinal, judged), 1)[0] == pytest.approx(1.0, abs=0.12)
    for training in (ordinal, regression):
        assert np.corrcoef(true, scores(training, judged))[0, 1] > 0.97


def test_margins_widen_the_gaps_they_are_given_for() -> None:
    rng = np.random.default_rng(0)
    utility = worths(rng)
    better, worse = gold_pairs(utility, 2000, rng)
    gaps = np.array([utility(a) - utility(b) for a, b in zip(better, worse, strict=True)])
    wide = gaps > np.median(gaps)
    ratio = {}
    for margin in (0.0, 3.0):
        rows = [
            Preference("", pair, margin=margin * w)
            for pair, w in zip(zip(better, worse, strict=True), wide, strict=True)
        ]
        training = trained(rows, n_epochs=5)
        difference = scores(training, better) - scores(training, worse)
        ratio[margin] = difference[wide].mean()
    assert ratio[3.0] > ratio[0.0] + 1
