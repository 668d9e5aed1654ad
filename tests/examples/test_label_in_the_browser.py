"""Labels made in the real page reach the reward model, and its report card, as the person meant them."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from textrl_env.agents import SFTConfig
from textrl_env.pipeline import SFTOptions
from textrl_env.reward_models import RewardModelConfig
from textrl_env.worlds import support_desk

EXAMPLE = Path(__file__).parents[2] / "examples" / "label_in_the_browser.py"


@pytest.mark.slow
def test_what_is_ranked_on_the_screen_is_learned_and_judged(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("label_in_the_browser", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    card = module.main(
        module.Args(
            run_dir=tmp_path,
            n_items=4,
            n_judged=2,
            noise=1e-9,
            sft=SFTOptions(
                n_demonstrations=500, hidden_size=32, layers=1, vocab_size=400, training=SFTConfig(n_steps=60)
            ),
            training=RewardModelConfig(n_epochs=1),
        )
    )
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    asked = [row["prompt"] for row in support_desk.prompts(4, seed=0)]
    assert sorted(row["prompt"] for row in rows) == sorted(asked)
    for row in rows:
        gold = support_desk.gold_reward([row["prompt"]] * 4, row["ranking"])
        assert np.all(np.diff(gold) <= 0) and row["annotator"] == "simulated"
    assert {check["name"] for check in card["checks"]} and (tmp_path / "reward_model" / "report_card.html").is_file()
