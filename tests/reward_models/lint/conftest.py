"""Preferences without any fault, and the linter's report on rows."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env.reward_models.lint import LintOptions, LintReport, TokenBudget, lint, read_corpus

Row = dict[str, Any]
VOCABULARY = [start + end for start in "bdfgklmnprst" for end in ("a", "ab", "el", "in", "o", "or", "u", "um", "it")]


def texts(n: int, rng: np.random.Generator, *, low: int = 8, high: int = 30) -> list[str]:
    """Sentences of random words, no two alike."""
    return [" ".join(rng.choice(VOCABULARY, size=rng.integers(low, high))).capitalize() + "." for _ in range(n)]


def faultless(n: int = 400, *, seed: int = 0) -> list[Row]:
    """n rows of two labels a prompt; what is chosen is random, as are annotators, places and kinds."""
    rng = np.random.default_rng(seed)
    prompts, chosen, rejected = texts(n // 2, rng), texts(n, rng), texts(n, rng)
    return [
        {
            "prompt": prompts[i // 2],
            "chosen": chosen[i],
            "rejected": rejected[i],
            "annotator": f"ann-{rng.integers(12)}",
            "shown": [0, 1] if rng.random() < 0.5 else [1, 0],
            "kind": "xyz"[rng.integers(3)],
        }
        for i in range(n)
    ]


@pytest.fixture
def make_rows() -> Callable[..., list[Row]]:
    """`faultless`, for tests that need more."""
    return faultless


@pytest.fixture
def clean() -> list[Row]:
    return faultless()


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., LintReport]:
    """The report on rows; those of `against` are held out."""

    def of(
        rows: Sequence[Any], *, against: Sequence[Any] | None = None, budget: TokenBudget | None = None, **options: Any
    ) -> LintReport:
        files = {}
        for name, given in (("data", rows), ("heldout", against)):
            if given is not None:
                files[name] = tmp_path / f"{name}.jsonl"
                files[name].write_text("".join(json.dumps(row) + "\n" for row in given))
        return lint(read_corpus(files["data"], LintOptions(**options), against=files.get("heldout"), budget=budget))

    return of
