"""A process that was launched with others leaves their group before Python is taken down."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import atexit
import os
import torch
from textrl_env.agents.processes import join_processes

# Handlers run last in, first out: this one comes after that of the processes.
atexit.register(lambda: os.write(1, f"in a group at the end: {torch.distributed.is_initialized()}\\n".encode()))
processes = join_processes(torch.device("cpu"))
assert processes.any_of(processes.index == 1) and torch.distributed.is_initialized()
"""


@pytest.mark.slow
def test_the_group_is_left_at_the_end(tmp_path: Path) -> None:
    script = tmp_path / "joins.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in a group at the end: False") == 2
