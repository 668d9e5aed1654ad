"""`--dry-run` leaves the run's folder alone, and measures what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from textrl_env.cli import main
from textrl_env.pipeline.rehearsal import measure_peak_memory


def test_the_peak_grows_by_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array larger than all memory of this process so far is in the measure."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before, _ = measure_peak_memory()
    array = np.ones(before + 10**8, dtype=np.uint8)
    after, _ = measure_peak_memory()
    assert array[-1] == 1 and after >= len(array)


@pytest.mark.parametrize(
    "command",
    [
        "sft --n-demonstrations 40 --hidden-size 16 --vocab-size 300",
        "preferences",
        "reward-model",
        "dpo",
        "ppo --batch-size 4 --max-new-tokens 8",
    ],
)
def test_a_dry_run_works_estimates_and_writes_nothing(
    command: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    main([*command.split(), "--run-dir", str(run_dir), "--dry-run"])
    shown = capsys.readouterr().out
    assert re.search(r"one tiny iteration works \(\d+\.\d s\); the run.s folder was only read", shown)
    assert re.search(
        r"memory: [\d.]+ [MG]B at the peak of that iteration, (on the GPU|with Python and its libraries)", shown
    )
    assert re.search(r"time: about [\d.]+ (s|min|h) ", shown)
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_a_dry_run_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, message in (("ppo", "not there yet; make it with: textrl sft"), ("evaluate", "has no dry run")):
        with pytest.raises(SystemExit) as end:
            main([command, "--run-dir", str(tmp_path), "--dry-run"])
        assert end.value.code == 2 and message in capsys.readouterr().err
