"""The cost of exact answers: the soft dynamic programme, and a model's policy on a whole tree, cached or not.

Two trees of about 10^6 prefixes are solved, the largest in completions too; beside them stands one `numpy.exp` of as
many numbers as the tree has completions and prefixes, so that machines compare. Then a 4-layer Llama of width 128 is
evaluated on 2801 prefixes, after a short prompt and after a long one. Times are the process's own on one core, all rows
are measured in turn, round by round: compare rows of one run, never of two. Prints a table and writes JSON. Takes about
two minutes.

    python benchmarks/oracle.py --out runs/benchmarks/oracle.json
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from textrl_env.agents import small_llama
from textrl_env.oracle import PrefixTree, evaluate, prefix_logprobs, prefix_tree, solve
from textrl_env.worlds import LetterTokenizer

SIZES = {"8 tokens, horizon 8": (8, 8), "32 tokens, horizon 5": (32, 5)}


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    out: Path = Path("runs/benchmarks/oracle.json")
    """The measurements."""
    rounds: int = 5
    """Measurements of each row; the median is reported. The trees are built once."""
    long_prompt: int = 32
    """Tokens of the long prompt; the short one has 2."""


def random_policy(tree: PrefixTree) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    policy = []
    for end in tree.ends:
        logits = rng.normal(size=end.shape)
        policy.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return policy


@torch.inference_mode()
def recompute_logprobs(model: Any, prompt_ids: np.ndarray, tree: PrefixTree) -> list[np.ndarray]:
    """Computes what `prefix_logprobs` returns by reading every prefix from its start."""
    levels = []
    for prefixes in tree.prefixes:
        ids = torch.from_numpy(np.concatenate([np.tile(prompt_ids, (len(prefixes), 1)), prefixes], axis=1))
        logits = [model(input_ids=part, use_cache=False, logits_to_keep=1).logits[:, -1] for part in ids.split(256)]
        levels.append(torch.log_softmax(torch.cat(logits).double(), dim=-1).numpy())
    return levels


def build_rows(name: str, vocab_size: int, horizon: int) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """Builds a tree; returns its rows, and its size and the seconds that it took."""
    rng = np.random.default_rng(0)
    started = time.process_time()
    tree = prefix_tree(vocab_size, horizon, eos_id=0, score=lambda completions: rng.normal(size=len(completions)))
    build_seconds = time.process_time() - started
    reference = random_policy(tree)
    numbers = rng.normal(size=sum(end.size for end in tree.ends))
    exponentials = np.empty_like(numbers)
    rows = {
        f"{name}: solve": lambda: solve(tree, reference, coef=0.1),
        f"{name}: evaluate": lambda: evaluate(tree, reference, reference, coef=0.1),
        f"{name}: numpy.exp": lambda: np.exp(numbers, out=exponentials),
    }
    return rows, {f"{name}: prefixes": sum(map(len, tree.prefixes)), f"{name}: tree": build_seconds}


def main(args: Args) -> dict[str, float]:
    """Measures; returns processor seconds by row, and the ratios that matter."""
    torch.set_num_threads(1)
    rows: dict[str, Callable[[], Any]] = {}
    facts: dict[str, float] = {}
    for name, size in SIZES.items():
        tree_rows, tree_facts = build_rows(name, *size)
        rows |= tree_rows
        facts |= tree_facts
    model = small_llama(LetterTokenizer(8), hidden_size=128, layers=4)
    tree = prefix_tree(8, 5, eos_id=0, score=lambda completions: np.zeros(len(completions)))
    for length in (2, args.long_prompt):
        prompt = np.random.default_rng(0).integers(1, 8, length)
        rows[f"Llama, prompt of {length}: cached"] = lambda prompt=prompt: prefix_logprobs(
            model, prompt, tree, vocab_size=8
        )
        rows[f"Llama, prompt of {length}: recomputed"] = lambda prompt=prompt: recompute_logprobs(model, prompt, tree)
    samples: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(args.rounds):
        for name, run in rows.items():
            started = time.process_time()
            run()
            samples[name].append(time.process_time() - started)
    seconds = {name: median(values) for name, values in samples.items()}
    ratios = {f"{name}: solve / numpy.exp": seconds[f"{name}: solve"] / seconds[f"{name}: numpy.exp"] for name in SIZES}
    for length in (2, args.long_prompt):
        name = f"Llama, prompt of {length}"
        ratios[f"{name}: recomputed / cached"] = seconds[f"{name}: recomputed"] / seconds[f"{name}: cached"]
    table = Table("", "seconds (tree: once; prefixes: their number)")
    for name, value in (facts | seconds).items():
        table.add_row(name, f"{value:,.0f}" if name.endswith("prefixes") else f"{value:.3f}")
    Console().print(table)
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.1f}")
    result = facts | seconds | ratios
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({**result, "rounds": args.rounds}, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
