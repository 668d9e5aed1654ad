"""The configurations for several processes start what they say, through accelerate's own command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "examples" / "accelerate"


@pytest.mark.slow
def test_the_example_runs_in_two_processes(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            CONFIGS / "cpu.yaml",
            ROOT / "examples" / "train_ppo.py",
            "--n-updates",
            "3",
            "--n-episodes",
            "8",
            "--log-dir",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    # Two processes, and one of them speaks and writes.
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [["update", str(n)] for n in (1, 2, 3)]
    assert done.stdout.splitlines()[3:] == [f"checkpoint in {tmp_path / 'checkpoint'}"]
    assert len(list(tmp_path.glob("events.*"))) == 1
    assert len(json.loads((tmp_path / "checkpoint" / "trainer" / "state.json").read_text())["envs"]) == 2


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_have_only_keys_that_accelerate_knows(config: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    found = yaml.safe_load(config.read_text())
    loaded = load_config_from_file(str(config))
    options = {option.dest for option in launch_command_parser()._actions}
    assert set(found.get("fsdp_config", {})) <= options
    assert all(hasattr(loaded, key) for key in found)
    assert loaded.mixed_precision == "no"
