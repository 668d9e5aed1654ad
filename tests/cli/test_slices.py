"""`textrl slices` on a run and on a model that knows one slice only; `textrl balance` and what is trained on it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env.cli import main
from textrl_env.reward_models import preferences_of, read_preferences, write_preferences
from textrl_env.reward_models.slices import slice_gaps, slices_of


def rows(n_usual: int, n_rare: int) -> list[dict[str, Any]]:
    kinds = ["usual"] * n_usual + ["rare"] * n_rare
    return [
        {"prompt": f"{kind} {i}", "chosen": "good", "rejected": "bad", "kind": kind} for i, kind in enumerate(kinds)
    ]


class Judge:
    """Orders the pairs of usual prompts right, those of rare ones wrong, and scores the latter higher by 2."""

    def score(self, prompts: list[str], completions: list[str]) -> np.ndarray:
        right = [
            (completion == "good") == prompt.startswith("usual")
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return np.array(right) + 2.0 * np.array([prompt.startswith("rare") for prompt in prompts])


def test_gaps_of_a_reward_model_between_slices() -> None:
    given = rows(40, 20)
    judge: Any = Judge()
    gaps = slice_gaps(judge, preferences_of(given), slices_of(given, "kind"), rng=np.random.default_rng(0))
    assert {line.name: (line.value, line.count) for line in gaps.accuracy.lines} == {"rare": (0, 20), "usual": (1, 40)}
    assert gaps.accuracy.gap is not None and gaps.accuracy.gap.value == 1 and gaps.accuracy.gap.highest == "usual"
    assert {line.name: (line.value, line.count) for line in gaps.reward.lines} == {
        "rare": (2.5, 40),
        "usual": (0.5, 80),
    }
    assert gaps.reward.gap is not None and (gaps.reward.gap.highest, gaps.reward.gap.value) == ("rare", 2)


@pytest.mark.slow
def test_a_run_is_sliced_by_the_columns_of_its_preferences(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["slices", "--by", "harmful", "--run-dir", str(run_dir), "--json", str(tmp_path / "slices.json")])
    shown = " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "slices.json").read_text())
    train = [json.loads(line) for line in (run_dir / "preferences" / "train.jsonl").read_text().splitlines()]
    assert {line["name"]: line["count"] for line in found["labels"]["lines"]} == Counter(
        str(r["harmful"]) for r in train
    )
    assert set(found) == {"by", "labels", "accuracy", "reward"} and "accuracy" in shown and "in reward" in shown


def test_without_a_reward_model_labels_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_preferences(tmp_path / "data.jsonl", rows(40, 20))
    main(["slices", "--by", "kind", "--run-dir", str(tmp_path), "--preferences", str(data)])
    shown = capsys.readouterr().out
    assert "largest gap in share of labels: usual over rare by 0.333 (" in shown and "66.7%" in shown


@pytest.mark.parametrize("how", ["weights", "sample"])
def test_balanced_preferences_are_read_for_training(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_preferences(tmp_path / "data.jsonl", rows(40, 10)), tmp_path / "out" / "balanced.jsonl"
    main(["balance", str(data), "--by", "kind", "--how", how, "--out", str(out)])
    assert "50 rows in" in capsys.readouterr().out
    read = read_preferences(out)
    of_kind = {kind: sum(each.weight for each in read if each.prompt.startswith(kind)) for kind in ("usual", "rare")}
    assert of_kind == {"usual": pytest.approx(25), "rare": pytest.approx(25)}
    assert ("kind" in json.loads(out.read_text().splitlines()[0])) and len(read) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "topic"], "no row has a column 'topic'"),
        (["--by", "kind", "--cap", "0"], "cap must be at least 1"),
        (["--by", "kind", "--out", "data.jsonl"], "is also what is read (data)"),
    ],
)
def test_what_cannot_be_balanced_is_said(
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_preferences(Path("data.jsonl"), rows(4, 4))
    with pytest.raises(SystemExit) as end:
        main(["balance", "data.jsonl", *options])
    assert end.value.code == 2 and message in capsys.readouterr().err
