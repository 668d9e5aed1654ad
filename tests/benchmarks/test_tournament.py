"""The tournament: shares, curves and intervals, against counting and known curves."""

from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from desk.compare import at_kl, by_setting, interval
from desk.entrants import ENTRANTS, best_of_shares
from desk.figure import draw
from desk.lab import Lab, as_row
from scipy import stats

from textrl_env.agents.offline import SFTConfig
from textrl_env.pipeline import (
    PreferencesOptions,
    RewardModelOptions,
    SFTOptions,
    run_preferences,
    run_reward_model,
    run_sft,
)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_best_of_n_is_each_rank_as_often_as_subsets_say(n: int) -> None:
    m = 5
    subsets = list(combinations(range(m), n))
    counted = [sum(max(subset) == rank for subset in subsets) / len(subsets) for rank in range(m)]
    np.testing.assert_allclose(best_of_shares(m, n), counted, atol=1e-12)


def rows() -> list[dict[str, object]]:
    """Two seeds whose gold is 0.4 + a √KL with a of 0.1 and 0.2; the second goes to 4 nats, the first to 9."""
    found: list[dict[str, object]] = []
    for seed, slope, kls in ((0, 0.1, (1.0, 9.0)), (1, 0.2, (1.0, 4.0))):
        found.append({"entrant": "SFT", "seed": seed, "setting": None, "kl": 0.01, "gold": 0.4, "proxy": 0.0})
        for setting, kl in zip((0.4, 0.1), kls, strict=True):
            gold = 0.4 + slope * kl**0.5
            found.append({"entrant": "PPO", "seed": seed, "setting": setting, "kl": kl, "gold": gold, "proxy": kl})
    return found


def test_gold_is_read_off_at_equal_kl_and_not_beyond_what_was_reached() -> None:
    values = at_kl(rows(), "PPO", (0.25, 2.25, 6.25))
    np.testing.assert_allclose(values[0], [0.45, 0.55, 0.65])
    np.testing.assert_allclose(values[1], [0.5, 0.7, np.nan])


def test_settings_come_in_the_order_of_their_kl_with_a_number_for_every_seed() -> None:
    few, much = by_setting(rows(), "PPO")
    assert few["kl"].tolist() == [1.0, 1.0] and much["kl"].tolist() == [9.0, 4.0]


def test_the_interval_is_students() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.5])
    mean, half = interval(values)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert mean - half == pytest.approx(low) and mean + half == pytest.approx(high)


@pytest.mark.slow
def test_every_entrant_has_its_points_and_the_figure_is_drawn(tmp_path: Path) -> None:
    sft = SFTOptions(n_demonstrations=64, hidden_size=32, vocab_size=300, training=SFTConfig(n_steps=4, batch_size=8))
    stages = (
        partial(run_sft, sft),
        partial(run_preferences, PreferencesOptions(n_prompts=8, n_heldout=4, max_new_tokens=8)),
        partial(run_reward_model, RewardModelOptions()),
    )
    lab = Lab(tmp_path, 0, stages, n_heldout=16)
    found = [as_row(name, 0, *point) for name in ENTRANTS for point in ENTRANTS[name](lab, (0.2,), 64)]
    settings = {name: [row["setting"] for row in found if row["entrant"] == name] for name in ENTRANTS}
    assert settings.pop("SFT") == [None] and settings.pop("best-of-n") == [2, 4, 8, 16] and settings.pop("frontier")
    assert all(points == [0.2] for points in settings.values())
    assert all(np.isfinite([row["kl"], row["gold"], row["proxy"]]).all() for row in found)
    (start,) = (row for row in found if row["entrant"] == "SFT")
    assert start["kl"] == pytest.approx(0, abs=1e-4)
    # The optimum at less and less of a price spends more, and scores more by what it optimises.
    optima = [row for row in found if row["entrant"] == "frontier"]
    for score in ("kl", "proxy"):
        assert np.all(np.diff([row[score] for row in optima]) > 0)
    draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
