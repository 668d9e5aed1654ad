"""`textrl raters` on a simulated population whose habits are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from textrl_env.cli import main
from textrl_env.reward_models import read_preferences, write_preferences
from textrl_env.reward_models.feedback.simulated_raters import SimulatedRater, Worker, collect_judgements, make_workers


def words(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
    """The utility is the first word."""
    return [float(text.split()[0]) for text in completions]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    workers = (
        *make_workers(5, 1, 1, tie_margin=0.1),
        Worker(SimulatedRater("biased", 0.1, length_bias=0.05)),
        Worker(SimulatedRater("tired", 0.05), fatigue=0.02),
    )
    texts = [
        [f"{u:.4f}{' w' * int(n)}" for u, n in zip(rng.random(2), rng.integers(12, size=2), strict=True)]
        for _ in range(300)
    ]
    rows = collect_judgements(workers, [str(i) for i in range(300)], texts, words, overlap=5, rng=rng)
    return write_preferences(tmp_path_factory.mktemp("raters") / "data.jsonl", rows)


def test_every_habit_shows_in_the_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weighted = tmp_path / "weighted.jsonl"
    main(["raters", str(data), "--out", str(tmp_path), "--resamples", "100", "--weighted", str(weighted)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "1500 comparisons by 9 raters on 300 prompts, 5.0 of each pair" in shown
    assert "1 adversarial, 1 careless" in shown and "Fleiss's kappa" in shown
    report = json.loads((tmp_path / "raters.json").read_text())
    raters = {line["annotator"]: line for line in report["raters"]}
    assert {name: line["verdict"] for name, line in raters.items() if line["verdict"]} == {
        "adversarial-00": "adversarial",
        "careless-00": "careless",
    }
    assert max(raters, key=lambda name: raters[name]["longer"]) == "biased" and raters["biased"]["longer"] > 0.1
    assert min(raters, key=lambda name: raters[name]["drift"]) == "tired" and raters["tired"]["drift"] < -0.1
    assert raters["adversarial-00"]["kappa"] < 0 < raters["honest-00"]["kappa"]
    assert raters["honest-00"]["ties"] > 0.1 and raters["careless-00"]["ties"] == 0
    assert sum(line["n_judgements"] for line in raters.values()) == 1500
    preferences = read_preferences(weighted)
    names = [json.loads(line)["annotator"] for line in weighted.read_text().splitlines()]
    assert len(preferences) == 1500 and sum(p.probability == 0.5 for p in preferences) > 50
    assert [(p.prompt, p.ranking) for p in preferences] == [(p.prompt, p.ranking) for p in read_preferences(data)]
    for preference, name in zip(preferences, names, strict=True):
        assert preference.weight == pytest.approx(max(0.0, 2 * raters[name]["reliability"] - 1))
    assert {p.weight for p, name in zip(preferences, names, strict=True) if name == "adversarial-00"} == {0.0}
    for line in report["agreement"]:
        assert line["low"] <= line["value"] <= line["high"] < 1
    assert (tmp_path / "raters.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_ratings_are_judged_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    rows = [
        {"prompt": f"p{prompt}", "completion": f"c{text}", "rating": int(value), "annotator": f"r{rater}"}
        for prompt in range(12)
        for text, truth in enumerate(rng.integers(5, size=4))
        for rater in range(3)
        if (value := np.clip(truth + rng.integers(-1, 2), 0, 4)) >= 0 and (rater < 2 or text > 0)
    ]
    file = write_preferences(tmp_path / "ratings.jsonl", rows)
    main(["raters", str(file), "--out", str(tmp_path), "--resamples", "50"])
    shown = capsys.readouterr().out
    assert "132 ratings by 3 raters on 12 prompts, 2.8 of each text" in shown
    # Not every text has the same number of ratings.
    assert "Fleiss" not in shown
    alphas = [line["value"] for line in json.loads((tmp_path / "raters.json").read_text())["agreement"]]
    assert alphas[2] > alphas[0] > 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "chosen": "x", "rejected": "y"}, "no column 'annotator'"),
        ({"prompt": "p", "chosen": "x", "rejected": "y", "annotator": "ann"}, "judged by two raters"),
    ],
)
def test_what_cannot_be_judged_is_said(
    row: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_preferences(tmp_path / "data.jsonl", [row])
    with pytest.raises(SystemExit) as end:
        main(["raters", str(file), "--out", str(tmp_path / "out")])
    assert end.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
