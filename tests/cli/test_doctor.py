"""`textrl doctor` on the run of a quickstart."""

import json
from pathlib import Path

import pytest

from textrl_env.cli import main


def test_a_run_of_the_quickstart_is_healthy(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--run-dir", str(run_dir), "--json", str(tmp_path / "found.json")])
    shown, found = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    assert found["passed"] and len(found["checks"]) == shown.count("OK") + shown.count("not applicable")
    assert {check["outcome"] for check in found["checks"] if "prompts are" not in check["name"]} == {"passed"}
    assert "no check failed" in shown and "FAIL" not in shown
