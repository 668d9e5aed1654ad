"""The cost of `textrl lint`: CPU time beside that of reading the same file as preferences, and memory.

`python benchmarks/lint.py` makes 100,000 pairs of texts of random words (8 to 40 in a prompt, 20 to 100 in a
completion, as frequent as a word of its rank is in English), and lints them against as many held out.
"""

import json
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from textrl_env.reward_models import read_preferences
from textrl_env.reward_models.lint import LintOptions, lint, read_corpus

VOCABULARY = 30_000


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    n_pairs: int = 100_000
    """Pairs in each of the two files, two of them a prompt."""
    seed: int = 0
    """Of the texts."""


def main(args: Args) -> dict[str, float]:
    """Prints and returns CPU seconds, their ratio, and the peak of memory in MB."""
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        files = [write(Path(folder) / name, args.n_pairs, rng) for name in ("train.jsonl", "heldout.jsonl")]
        start = time.process_time()
        read_preferences(files[0])
        read_seconds = time.process_time() - start
        start = time.process_time()
        report = lint(read_corpus(files[0], LintOptions(), against=files[1]))
        lint_seconds = time.process_time() - start
    figures = {
        "read_seconds": round(read_seconds, 1),
        "lint_seconds": round(lint_seconds, 1),
        "ratio": round(lint_seconds / read_seconds, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "findings": len(report.at_least("notice")),
    }
    print(json.dumps(figures))
    return figures


def write(path: Path, n: int, rng: np.random.Generator) -> Path:
    """n pairs of texts by Zipf's law."""
    prompts = texts(-(-n // 2), 8, 40, rng)
    chosen, rejected = texts(n, 20, 100, rng), texts(n, 20, 100, rng)
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            row = {"prompt": prompts[i // 2], "chosen": chosen[i], "rejected": rejected[i], "annotator": f"a{i % 50}"}
            file.write(json.dumps(row) + "\n")
    return path


def texts(n: int, low: int, high: int, rng: np.random.Generator) -> list[str]:
    """n texts of low to high - 1 words."""
    frequency = 1 / np.arange(1, VOCABULARY + 1)
    lengths = rng.integers(low, high, size=n)
    words = rng.choice(VOCABULARY, size=lengths.sum(), p=frequency / frequency.sum())
    return [" ".join(f"w{word}" for word in part.tolist()) for part in np.split(words, np.cumsum(lengths)[:-1])]


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
