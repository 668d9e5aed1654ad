"""The examples on raters and slices show their help and run at a tiny size, without the download."""

import importlib.util
import json
import math
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.movie_reviews import RatedText

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def shrink(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives an example's stages small default data: the models are tiny all the same."""
    monkeypatch.setattr(
        module, "SFTOptions", partial(module.SFTOptions, n_demonstrations=300, vocab_size=400, hidden_size=32, layers=1)
    )
    monkeypatch.setattr(module, "PPOOptions", partial(module.PPOOptions, n_prompts=64))


@pytest.mark.parametrize("name", ["human_raters", "weigh_the_raters", "slice_bias"])
def test_help_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0 and "Takes about" in shown and "--out" in shown


def test_people_who_answer_at_random_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    texts = []
    for number in range(90):
        seen = np.clip(rng.integers(-3, 4) + rng.integers(-1, 2, size=12), -4, 4)
        seen[:2] = rng.integers(-4, 5, size=2)
        texts.append(RatedText(str(number), f"text {number}", tuple(seen.tolist()), number // 30))
    module = load("human_raters")
    monkeypatch.setattr(module, "load_rated_texts", lambda collection: texts)
    report = module.main(module.Args(n_panels=2, out=tmp_path))
    assert (report["n_judgements"], report["n_prompts"], report["overlap"]) == (720, 2, 12)
    assert sorted(line["annotator"] for line in report["raters"][:4]) == ["000-00", "000-01", "001-00", "001-01"]


@pytest.mark.slow
def test_raters_are_weighed_from_answers_to_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("weigh_the_raters")
    shrink(module, monkeypatch)
    options = {
        "seeds": (0, 1),
        "n_prompts": 150,
        "sft_steps": 3,
        "n_updates": 1,
        "n_evaluated": 8,
        "n_chosen": 4,
        "out": tmp_path,
    }
    summary = module.main(module.Args(**options))
    assert all(math.isfinite(value) for value in summary.values() if isinstance(value, float))
    assert summary["weighted_pairs"] > summary["majority_pairs"] + 0.1
    assert summary["gain_gold_low"] <= summary["gain_gold"] <= summary["gain_gold_high"]
    assert (tmp_path / "1" / "weighted" / "policy" / "config.json").is_file()


@pytest.mark.slow
def test_slices_are_treated_in_four_ways_and_a_finished_seed_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("slice_bias")
    shrink(module, monkeypatch)
    options = {"n_labels": 60, "rare": 0.1, "sft_steps": 3, "n_updates": 1, "n_evaluated": 6, "out": tmp_path}
    alone = module.main(module.Args(seeds=(0,), **options))
    assert all(0 <= alone[f"{label} policy harmful"]["mean"] <= 1 for label in module.LABELS)
    weights = [json.loads(line)["weight"] for line in (tmp_path / "0/weighted/labels.jsonl").read_text().splitlines()]
    assert sum(weights) == pytest.approx(60) and max(weights) == pytest.approx(9 * min(weights))
    resampled = [json.loads(line) for line in (tmp_path / "0/resampled/labels.jsonl").read_text().splitlines()]
    assert sum(row["harmful"] for row in resampled) == 30
    figures = json.loads((tmp_path / "0/figures.json").read_text())
    (tmp_path / "1").mkdir()
    figures["weighted best harmful"] += 0.2
    (tmp_path / "1/figures.json").write_text(json.dumps(figures))
    gain = module.main(module.Args(seeds=(0, 1), **options))["weighted best harmful"]
    before = alone["weighted best harmful"]["gain"]
    assert gain["gain"] == pytest.approx(before + 0.1) and gain["gain_low"] < before < gain["gain_high"]
    assert not (tmp_path / "1/sft").exists()
