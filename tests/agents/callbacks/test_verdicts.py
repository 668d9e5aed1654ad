"""The verdict: each fault by its name on a log that has it, and the plain line where there is none."""

from typing import Any

import numpy as np
import pytest

from textrl_env.agents.callbacks import SayVerdict
from textrl_env.agents.callbacks.verdicts import verdict

N = 30


def log(**changed: Any) -> list[dict[str, float]]:
    """A healthy run of N rows, with some tags (`kl=` for `objective/kl`) replaced by numbers or series."""
    t = np.linspace(0, 1, N)
    wave = 0.01 * np.sin(7 * np.arange(N))
    series = {
        "objective/scores": t + wave,
        "objective/kl": 3 * t,
        "objective/entropy": 2 - t + wave,
        "rollout/ep_len_mean": 20.0,
        "train/clip_fraction": 0.1,
        "train/approx_kl": 0.01,
        "train/value_loss": 0.3,
        "train/explained_variance": 0.6,
    }
    by_name = {tag.split("/")[1]: tag for tag in series}
    series |= {by_name[name]: value for name, value in changed.items()}
    columns = {tag: np.broadcast_to(value, N) for tag, value in series.items()}
    rows = [{tag: float(values[row]) for tag, values in columns.items()} for row in range(N)]
    return [{**row, "time/iterations": n} for n, row in enumerate(rows, start=1)]


def last(value: float, before: float) -> np.ndarray:
    return np.array([before] * (N - 1) + [value])


def test_a_healthy_run_is_one_line() -> None:
    line = verdict(log(scores=np.linspace(0.41, 0.61, N), kl=3.14))
    assert line == "update 30: score 0.61 (+0.20), KL 3.1, entropy falling, ratio fine: learning"


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"kl": last(25.0, 8.0)}, "KL TOO HIGH"),
        ({"kl": last(19.0, 8.0)}, None),
        ({"kl": last(9.0, 1.0), "ep_len_mean": 5.0}, None),
        ({"kl": -2.0}, "KL IS NEGATIVE"),
        ({"kl": last(-2.0, 0.5)}, None),
        ({"value_loss": last(9.0, 0.3), "explained_variance": -0.5}, "VALUE LOSS EXPLODES"),
        ({"value_loss": last(9.0, 0.3)}, None),
        ({"clip_fraction": last(0.4, 0.1)}, "STEPS TOO LARGE"),
        ({"approx_kl": last(0.5, 0.01)}, "STEPS TOO LARGE"),
        ({"entropy": np.geomspace(2, 0.1, N), "scores": 0.5}, "ENTROPY COLLAPSED"),
        ({"entropy": np.geomspace(2, 0.1, N)}, None),
        ({"scores": 0.5}, "NOTHING LEARNT"),
        ({"scores": np.linspace(1, 0, N)}, "NOTHING LEARNT"),
        ({"scores": np.random.default_rng(0).normal(size=N)}, "NOTHING LEARNT"),
    ],
)
def test_each_fault_is_named(changed: dict[str, Any], fault: str | None) -> None:
    line = verdict(log(**changed))
    assert "\n" not in line
    assert (f": {fault}" in line) if fault else line.endswith(": learning"), line


def test_the_cause_is_named_before_what_follows_from_it() -> None:
    assert "STEPS TOO LARGE" in verdict(log(clip_fraction=0.6, kl=90.0, scores=0.0))


def test_a_plateau_is_no_fault_and_a_young_run_has_no_verdict() -> None:
    risen = np.minimum(np.linspace(0, 3, N), 1.0)
    assert verdict(log(scores=risen)).endswith("learnt, steady now")
    assert verdict(log()[:5]).endswith("too early to say")


def test_what_is_not_logged_is_left_out() -> None:
    rows = [{"objective/scores": row["objective/scores"]} for row in log()]
    assert verdict(rows) == "update 30: score 1.01 (+1.01): learning".replace(
        "1.01 (+1.01)", f"{rows[-1]['objective/scores']:.2f} ({rows[-1]['objective/scores']:+.2f})"
    )


def test_it_speaks_every_few_updates_with_the_numbers_of_the_update(make_ppo: Any) -> None:
    said: list[str] = []
    make_ppo().learn(total_updates=5, callback=SayVerdict(2, say=said.append))
    assert [line.split(":")[0] for line in said] == ["update 2", "update 4"]
    assert all("ratio fine" in line for line in said)
