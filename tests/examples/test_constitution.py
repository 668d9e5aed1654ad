"""The example on AI feedback shows its help and runs at a tiny size."""

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "constitution.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("example_constitution", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["constitution.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0 and "Constitutional AI" in shown and "--judge {rules,smollm2}" in shown


@pytest.mark.slow
def test_from_principles_to_a_policy(tmp_path: Path) -> None:
    module = load()
    summary = module.main(
        module.Args(
            n_revised=30, n_pairs=40, n_human=12, sft_steps=8, n_updates=1, n_evaluated=8, out=tmp_path, threads=1
        )
    )
    assert list(summary["gold"]) == ["imitation", "revisions", "PPO"]
    assert all(gold["low"] <= gold["value"] <= gold["high"] for gold in summary["gold"].values())
    assert summary["bias"]["first"]["value"] == 0.5 and summary["slices"][0]["n"] <= 12
    assert json.loads((tmp_path / "rules" / "summary.json").read_text()) == summary
    assert (tmp_path / "rules" / "revised" / "policy" / "config.json").is_file()
