"""A tiny quickstart, run once for all tests of this folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from textrl_env.cli import main

TINY = (
    "--threads 1 --sft.n-steps 8 --sft.n-demonstrations 200 --sft.hidden-size 32 --sft.vocab-size 400 "
    "--preferences.n-prompts 12 --preferences.n-heldout 6 --ppo.n-prompts 40 --ppo.n-updates 2 --ppo.n-episodes 8 "
    "--ppo.batch-size 4 --evaluation.n-prompts 12"
)


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Runs the tiny quickstart with a seed in a folder of its own."""

    def run(seed: int) -> Path:
        out = tmp_path_factory.mktemp("quickstart") / "run"
        main(["quickstart", "--out", str(out), "--seed", str(seed), *TINY.split()])
        return out

    return run


@pytest.fixture(scope="session")
def run_dir(quickstart: Callable[[int], Path]) -> Path:
    """The folder of a tiny quickstart with seed 0; tests leave it as it is."""
    return quickstart(0)
