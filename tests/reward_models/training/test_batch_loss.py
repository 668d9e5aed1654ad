"""The loss of a batch: what its options change, and what must change nothing."""

import math
from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from textrl_env import InputError
from textrl_env.reward_models import Preference, RewardModelConfig
from textrl_env.reward_models.training import compute_targets
from textrl_env.reward_models.training.configs import Loss
from textrl_env.reward_models.training.losses import batch_loss
from textrl_env.reward_models.training_rows import RatedCompletion, TrainingRow, completions_of

PAIRS: list[TrainingRow] = [
    Preference("p", ("a", "b")),
    Preference("p", ("c", "a"), 0.8),
    Preference("q", ("x", "y"), 0.5),
]
RANKINGS: list[TrainingRow] = [
    Preference("p", ("a", "b", "c")),
    Preference("q", ("b", "a")),
    Preference("q", tuple("xyzw")),
]
RATINGS: list[TrainingRow] = [
    RatedCompletion("p", text, rating) for text, rating in zip("abcde", (1, 7, 4, 4, 2), strict=True)
]
ROWS: dict[Loss, list[TrainingRow]] = {
    "pairs": PAIRS,
    "davidson": PAIRS,
    "plackett-luce": RANKINGS,
    "regression": RATINGS,
    # Two of each category, so that one goes without its category going.
    "ordinal": [*RATINGS, *(RatedCompletion("q", text, rating) for text, rating in zip("xyz", (1, 7, 2), strict=True))],
}


def scores_of(rows: list[TrainingRow]) -> Tensor:
    """The same text of the same prompt has the same score, whatever else there is."""
    texts = [row.prompt + text for row in rows for text in completions_of(row)]
    return torch.tensor([math.sin(sum(3 * place + ord(letter) for place, letter in enumerate(text))) for text in texts])


def cost(
    rows: list[TrainingRow], scores: Tensor | None = None, *, thresholds: Tensor | None = None, **options: Any
) -> float:
    """Of all rows in one batch; the loss's own parameters are where they start, unless given."""
    targets = compute_targets(rows, RewardModelConfig(**options))
    batch = targets.batch(range(len(rows)), torch.device("cpu"))
    at = targets.thresholds if thresholds is None else thresholds
    return float(
        batch_loss(
            scores_of(rows) if scores is None else scores,
            batch,
            at,
            RewardModelConfig(**options | {"loss": targets.loss}),
        )
    )


def heavier(rows: list[TrainingRow], index: int, weight: float) -> list[TrainingRow]:
    changed = vars(rows[index]) | {"weight": weight}
    return [*rows[:index], type(rows[index])(**changed), *rows[index + 1 :]]


@pytest.mark.parametrize("loss", get_args(Loss))
def test_a_weight_of_two_is_the_row_twice_and_one_of_zero_no_row(loss: Loss) -> None:
    rows = ROWS[loss]
    thresholds = compute_targets(rows, RewardModelConfig(loss=loss)).thresholds
    found = partial(cost, loss=loss, thresholds=thresholds)
    for index in range(len(rows)):
        assert found(heavier(rows, index, 2.0)) == pytest.approx(found([*rows, rows[index]]))
        assert found(heavier(rows, index, 0.0)) == pytest.approx(found(rows[:index] + rows[index + 1 :]))
        assert found(heavier(rows, index, 0.0)) != pytest.approx(found(rows), rel=1e-3)
    assert found([heavier([row], 0, 7.0)[0] for row in rows]) == pytest.approx(found(rows))


def test_light_rows_weigh_little_also_where_they_are_alone_in_a_batch() -> None:
    rows = [Preference("p", ("a", "b"), weight=0.1), Preference("q", ("x", "y"), weight=1.9)]
    targets, cpu = compute_targets(rows, RewardModelConfig()), torch.device("cpu")
    scores = torch.tensor([0.0, 0.0])
    light, heavy = (
        float(batch_loss(scores, targets.batch([row], cpu), targets.thresholds, RewardModelConfig(loss="pairs")))
        for row in (0, 1)
    )
    assert light == pytest.approx(0.1 * math.log(2)) and heavy == pytest.approx(1.9 * math.log(2))


def test_a_margin_moves_the_difference_at_which_the_loss_is_log_2() -> None:
    rows = [Preference("p", ("a", "b"), margin=1.5)]
    assert cost(rows, torch.tensor([2.0, 0.5])) == pytest.approx(math.log(2))
    assert cost(rows, torch.tensor([2.0, 0.0])) == pytest.approx(-math.log(1 / (1 + math.exp(-0.5))))
    assert cost([Preference("p", ("a", "b"), margin=0.0)]) == cost([Preference("p", ("a", "b"))])


def test_smoothing_lets_no_difference_grow_without_bound() -> None:
    rows, wide = [Preference("p", ("a", "b"))], torch.tensor([40.0, 0.0])
    # 10 % of the labels are wrong: the best probability is 0.9, and being sure costs 40 nats in a tenth of the pairs.
    assert cost(rows, wide, label_smoothing=0.1) == pytest.approx(4.0)
    best = torch.tensor([math.log(9), 0.0])
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert cost(rows, best, label_smoothing=0.1) == pytest.approx(entropy)
    assert cost(PAIRS, label_smoothing=0.0) == cost(PAIRS)
    assert cost([Preference("p", ("a", "b"), 0.5)], label_smoothing=0.3) == cost([Preference("p", ("a", "b"), 0.5)])


def test_centring_costs_the_square_of_the_sum_of_a_pair() -> None:
    rows = [Preference("p", ("a", "b")), Preference("q", ("x", "y", "z"))]
    scores = torch.tensor([1.0, 2.0, 0.5, -0.5, 3.0])
    squares = [9.0, 0.0, 12.25, 6.25]
    added = cost(rows, scores, center_rewards_coefficient=0.1) - cost(rows, scores)
    assert added == pytest.approx(0.1 * sum(squares) / 4)
    shifted = cost(rows, scores + 7) - cost(rows, scores)
    assert shifted == pytest.approx(0.0, abs=1e-6)
    ranked = cost(rows, scores, loss="plackett-luce", center_rewards_coefficient=0.1)
    assert ranked - cost(rows, scores, loss="plackett-luce") == pytest.approx(0.1 * sum(squares) / 4)


def test_pairs_alone_cost_the_same_as_rankings_of_two() -> None:
    rows: list[TrainingRow] = [Preference("p", ("a", "b")), Preference("p", ("c", "a")), Preference("q", ("x", "y"))]
    assert cost(rows, loss="plackett-luce") == pytest.approx(cost(rows, loss="pairs"))


def test_the_order_in_which_people_gave_a_tie_says_nothing() -> None:
    tied, turned = Preference("p", ("a", "b"), 0.5), Preference("p", ("b", "a"), 0.5)
    others: list[TrainingRow] = [Preference("p", ("a", "c"))]
    for loss in ("pairs", "davidson"):
        assert cost([tied, *others], loss=loss) == pytest.approx(cost([turned, *others], loss=loss))


def test_the_loss_of_ties_starts_where_equal_scores_explain_them_best() -> None:
    rows: list[TrainingRow] = [Preference("p", ("a", "b"), 0.5)] * 30 + [Preference("p", ("a", "b"))] * 70
    targets = compute_targets(rows, RewardModelConfig(loss="davidson"))
    batch, equal = targets.batch(range(100), torch.device("cpu")), torch.zeros(200)
    at = targets.thresholds.clone().requires_grad_()
    batch_loss(equal, batch, at, RewardModelConfig(loss="davidson")).backward()
    assert at.grad is not None and abs(float(at.grad)) < 5e-3
    worth = math.exp(float(targets.thresholds))
    assert worth / (2 + worth) == pytest.approx(0.3, abs=5e-3)


def test_ratings_are_learnt_in_standard_deviations_or_as_categories() -> None:
    targets = compute_targets(RATINGS, RewardModelConfig())
    labels = torch.cat(targets.labels)
    assert float(labels.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float((labels**2).mean()) == pytest.approx(1.0)
    assert targets.loss == "regression"
    mean, deviation = targets.scale
    assert (labels * deviation + mean).tolist() == pytest.approx([1, 7, 4, 4, 2])
    assert cost(RATINGS, labels) == pytest.approx(0.0, abs=1e-6)
    assert cost(RATINGS, torch.zeros(5)) == pytest.approx(1.0)
    ordered = compute_targets(RATINGS, RewardModelConfig(loss="ordinal"))
    assert ordered.categories == (1, 2, 4, 7)
    assert [int(label) for label in ordered.labels] == [0, 3, 2, 2, 1]
    # With equal scores, the cutpoints' start gives each category its share, but for half a rating added to each.
    expected = -sum(math.log((count + 0.5) / 7) for count in (1, 1, 2, 2, 1)) / 5
    assert cost(RATINGS, torch.zeros(5), loss="ordinal") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "no preferences or ratings"),
        ([*PAIRS, *RATINGS], {}, "3 rows are preferences and 5 ratings; train on one"),
        (RATINGS, {"loss": "pairs"}, "loss pairs does not go with ratings; choose one of regression, ordinal"),
        (PAIRS, {"loss": "ordinal"}, "loss ordinal does not go with preferences"),
        (RATINGS, {"label_smoothing": 0.1}, "label_smoothing is for the losses pairs and davidson, loss is regression"),
        (RATINGS, {"center_rewards_coefficient": 0.1}, "center_rewards_coefficient is for preferences"),
        ([Preference("", ("a", "b"), 0.5, "f:3")], {"loss": "plackett-luce"}, "f:3: loss plackett-luce takes"),
        ([Preference("", ("a", "b"), where="f:4", margin=1.0)], {"loss": "plackett-luce"}, "f:4: loss plackett-luce"),
        ([Preference("", ("a", "b"), weight=0.0)], {}, "every row has the weight 0"),
        (RATINGS[2:4], {}, "all 2 ratings are 4.0"),
        ([*RATINGS[2:4], RatedCompletion("", "a", 1.0, weight=0.0)], {}, "all 2 ratings are 4.0"),
        ([RatedCompletion("", "a", float(n)) for n in range(51)], {"loss": "ordinal"}, "at most 50 .* found 51"),
    ],
)
def test_rows_and_losses_that_do_not_go_together_are_named(
    rows: list[TrainingRow], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compute_targets(rows, RewardModelConfig(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 0.5}, r"label_smoothing must be in \[0, 0.5\), got 0.5"),
        ({"center_rewards_coefficient": -1.0}, "center_rewards_coefficient must be at least 0"),
        ({"loss": "plackett-luce", "label_smoothing": 0.1}, "loss is plackett-luce"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RewardModelConfig(**options)


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_scores_of_a_row_of_weight_0_may_be_anything(loss: Loss, junk: float) -> None:
    rows = heavier(ROWS[loss], 1, 0.0)
    centring = 0.1 if loss in ("pairs", "davidson", "plackett-luce") else 0.0
    config = RewardModelConfig(loss=loss, center_rewards_coefficient=centring)
    targets = compute_targets(rows, config)
    batch = targets.batch(range(len(rows)), torch.device("cpu"))
    start = sum(targets.sizes[:1])
    place = slice(start, start + targets.sizes[1])
    costs = []
    for value in (None, junk):
        scores = scores_of(rows)
        if value is not None:
            scores[place] = value
        scores.requires_grad_()
        cost_of = batch_loss(scores, batch, targets.thresholds, config)
        cost_of.backward()
        assert scores.grad is not None and not scores.grad[place].any()
        costs.append((cost_of.item(), scores.grad.tolist()))
    assert costs[0] == costs[1]
