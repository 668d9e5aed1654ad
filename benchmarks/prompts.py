"""How long a large prompt file takes to the first reset, and how much memory.

    python benchmarks/prompts.py --rows 1000000 --out prompts.json

Writes JSONL with a prompt of about a dozen words and an answer per row, then measures, each in a process of its own:
`json.loads` of every line (the texts are kept), and construction of the environment plus `reset`, with the letter
tokenizer of the tests and with a byte-level BPE tokenizer of transformers; with `max_prompt_tokens`, and without a
limit, so that every prompt is encoded first. The result is printed as JSON:
per case the seconds, their ratio to `json.loads`, and the process's peak memory with and without that of its imports.
A million rows take a minute and a half of one processor.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CASES = ("json.loads", "letters", "letters, no limit", "bpe", "bpe, no limit")
SENTENCE = "the customer asks when his order will arrive it came damaged please reply"
WORDS = SENTENCE.split()


def write_prompts(path: Path, rows: int) -> None:
    """Rows of 8 to 16 words from a list of 13, with an answer; seeded."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for start in range(0, rows, 10_000):
            for row in range(start, min(start + 10_000, rows)):
                words = [WORDS[k] for k in rng.integers(len(WORDS), size=rng.integers(8, 17))]
                file.write(json.dumps({"prompt": " ".join(words), "answer": f"answer {row}"}) + "\n")


def measure(case: str, path: Path) -> dict[str, float]:
    """Seconds and peak memory of one case, in this process."""
    if case == "json.loads":
        start = time.perf_counter()
        with path.open() as file:
            prompts = [json.loads(line)["prompt"] for line in file]
        assert prompts
        return {"seconds": time.perf_counter() - start} | _memory(0.0)

    from textrl_env import TextGenEnv

    tokenizer = _tokenizer(case)
    imports = _peak()
    limit = None if case.endswith("no limit") else 256
    start = time.perf_counter()
    env = TextGenEnv(path, lambda prompts, completions: [0.0] * len(prompts), tokenizer, max_prompt_tokens=limit)
    env.reset(seed=0)
    return {"seconds": time.perf_counter() - start} | _memory(imports)


def _tokenizer(case: str) -> Any:
    if case.startswith("bpe"):
        from textrl_env.agents import train_tokenizer

        return train_tokenizer([SENTENCE] * 10, vocab_size=400)
    from textrl_env.worlds import LetterTokenizer

    class Letters(LetterTokenizer):
        """The letter tokenizer without spaces."""

        def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
            return super().encode(text.replace(" ", ""))

    return Letters(27)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _memory(imports: float) -> dict[str, float]:
    return {"peak_mb": _peak(), "peak_mb_over_imports": _peak() - imports}


def main(rows: int) -> dict[str, Any]:
    """All cases on one file, one after another."""
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        path = Path(folder) / "prompts.jsonl"
        write_prompts(path, rows)
        results: dict[str, Any] = {case: pool.apply(measure, (case, path)) for case in CASES}
        for result in results.values():
            result["ratio_to_json"] = result["seconds"] / results["json.loads"]["seconds"]
        return {"rows": rows, "file_mb": path.stat().st_size / 2**20, "cases": results}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = json.dumps(main(args.rows), indent=2)
    print(result)
    if args.out:
        args.out.write_text(result + "\n")
