"""The benchmark's three ways train the same model (checked inside), and its figures are written."""

import json
from pathlib import Path

import reward_model_training
from reward_model_training import Args


def test_a_tiny_round(tmp_path: Path) -> None:
    args = Args(out=tmp_path / "out.json", sizes=("quickstart",), pairs=24, batch_size=8, rounds=1)
    results = reward_model_training.main(args)
    assert json.loads((tmp_path / "out.json").read_text())["results"] == results
    assert results["quickstart"]["speed"]["packed"] > 0.2
