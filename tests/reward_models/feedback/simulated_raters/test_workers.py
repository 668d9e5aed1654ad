"""Simulated workers: their frequencies are the closed forms', habit by habit."""

from collections import Counter

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.simulated_raters import SimulatedRater, Worker, collect_judgements, make_workers


def frequencies(worker: Worker, utility: list[float], words: list[float], *, n_done: int = 0) -> list[float]:
    """Observed shares of first, tie, second."""
    rng, seen = np.random.default_rng(0), Counter[object]()
    for _ in range(8000):
        order, tie = worker.judge(np.array(utility), np.array(words), n_done, rng)
        seen["tie" if tie else order[0]] += 1
    return [seen[key] / 8000 for key in (0, "tie", 1)]


@pytest.mark.parametrize(
    ("habits", "n_done"),
    [
        ({}, 0),
        ({"laziness": 0.4}, 0),
        ({"fatigue": 0.01}, 100),
        ({"adversary": True}, 0),
        ({"tie_margin": 0.15}, 0),
        ({"laziness": 0.2, "fatigue": 0.005, "adversary": True, "tie_margin": 0.1}, 50),
    ],
)
def test_answers_come_as_often_as_the_closed_form_says(habits: dict[str, float], n_done: int) -> None:
    worker = Worker(SimulatedRater("ann", 0.2, length_bias=0.02), **habits)  # type: ignore[arg-type]
    # 0.6 - 0.5 utility, and 5 words of bias 0.02
    expected = worker.pair_probabilities(0.2, n_done=n_done)
    assert sum(expected) == pytest.approx(1) and min(expected) > -1e-12
    # Standard error at most 0.0056.
    np.testing.assert_allclose(frequencies(worker, [0.6, 0.5], [8, 3], n_done=n_done), expected, atol=0.02)


def test_rao_kupper_by_hand() -> None:
    worker = Worker(SimulatedRater("ann", 0.5), tie_margin=0.5)
    first, tie, second = worker.pair_probabilities(1.0)
    # sigmoid((1 - 0.5) / 0.5), sigmoid((-1 - 0.5) / 0.5)
    assert (first, second) == pytest.approx((0.7310585786, 0.0474258732))
    assert tie == pytest.approx(1 - first - second)


def test_attention_falls_with_the_work_done() -> None:
    worker = Worker(SimulatedRater("ann", 0.5), laziness=0.1, fatigue=0.01)
    assert worker.attention(0) == pytest.approx(0.9)
    assert worker.attention(100) == pytest.approx(0.9 * np.exp(-1))


def length(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
    return [float(len(text)) for text in completions]


def test_each_prompt_is_judged_by_different_workers_in_the_order_of_time() -> None:
    workers = make_workers(3, 1, 1)
    texts = [["a", "bb", "a"], ["c"], ["d", "eee", "ff"]]
    rows = collect_judgements(workers, ["p", "q", "r"], texts, length, overlap=4, rng=np.random.default_rng(0))
    assert [row["prompt"] for row in rows] == ["p"] * 4 + ["r"] * 4
    assert all(len({row["annotator"] for row in part}) == 4 for part in (rows[:4], rows[4:]))
    assert [row["created_at"] for row in rows] == list(range(8))
    assert all(sorted(row["ranking"]) == ["d", "eee", "ff"] for row in rows[4:])
    for row in rows:
        if row["annotator"].startswith("honest"):
            assert row["chosen"] == max(row["ranking"], key=len)
        if row["annotator"].startswith("adversarial"):
            assert row["chosen"] == min(row["ranking"], key=len)


def test_bad_input_is_named() -> None:
    rater = SimulatedRater("ann", 0.5)
    with pytest.raises(InputError, match=r"laziness of 'ann' must be in \[0, 1\], got 1.2"):
        Worker(rater, laziness=1.2)
    with pytest.raises(InputError, match="fatigue"):
        Worker(rater, fatigue=-1.0)
    for workers, overlap in (((Worker(rater),), 2), ((Worker(rater), Worker(rater)), 1)):
        with pytest.raises(InputError, match="different names"):
            collect_judgements(workers, ["p"], [["a", "b"]], length, overlap=overlap, rng=np.random.default_rng(0))
