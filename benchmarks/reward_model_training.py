"""How long a reward model trains, beside loops written by hand over the same batches.

Pairs of the support desk, bucketed by length; a Llama with random weights. Three ways take turns, round by round, so
that a busy machine slows all of them alike, and each trains a copy of the same model on the same batches:

- ours: `RewardModelTraining.run`.
- loop, packed: a plain loop over our forward without padding; what is above it is the cost of our training.
- loop, padded: a plain loop over transformers' own forward with padding and attention mask.

Prints processor seconds and speeds relative to the loops with their bar, and writes JSON. All three end with the same
parameters, which is checked. About two minutes on one core.

    OMP_NUM_THREADS=1 python benchmarks/reward_model_training.py
"""

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import LlamaForSequenceClassification

from textrl_env.agents import small_llama, train_tokenizer
from textrl_env.reward_models import Preference, RewardModel, RewardModelConfig
from textrl_env.reward_models.training import RewardModelTraining, iterate_batches
from textrl_env.training import adamw, one_cycle
from textrl_env.worlds import support_desk

BAR = 0.9
SIZES = {"quickstart": (96, 2), "larger": (256, 4)}
"""Width and layers."""


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    out: Path = Path("runs/benchmarks/reward_model_training.json")
    """The measurements."""
    sizes: tuple[str, ...] = tuple(SIZES)
    """Of the model: quickstart (width 96, 2 layers), larger (256, 4)."""
    pairs: int = 256
    """Pairs in an epoch; each turn trains one."""
    batch_size: int = 16
    """Pairs per step."""
    rounds: int = 7
    """How often each way is measured; the median is reported. One more round warms up."""


def main(args: Args) -> dict[str, Any]:
    """Measures, prints, writes; returns what was written."""
    results = {size: measure(*SIZES[size], args) for size in args.sizes}
    table = Table("model", "ours, CPU s", "loop, packed", "loop, padded", "speed / packed", "speed / padded", "bar")
    for size, result in results.items():
        seconds, speeds = result["seconds"], result["speed"]
        holds = "holds" if min(speeds.values()) >= BAR else "short"
        table.add_row(
            size,
            *(f"{seconds[way]:.2f}" for way in ("ours", "packed", "padded")),
            f"{speeds['packed']:.2f}",
            f"{speeds['padded']:.2f}",
            f"at least {BAR}: {holds}",
        )
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"bar": BAR, "torch": torch.__version__, "results": results}, indent=1) + "\n")
    print(f"written: {args.out}")
    return results


def measure(width: int, layers: int, args: Args) -> dict[str, dict[str, float]]:
    """Measures each way's median processor seconds, and the median over rounds of our speed relative to each loop."""
    start, rows = make_model_and_pairs(width, layers, args.pairs)
    config = RewardModelConfig(n_epochs=1, batch_size=args.batch_size)
    ways: dict[str, Callable[[RewardModel], Callable[[], object]]] = {
        "ours": lambda model: RewardModelTraining(model, rows, config).run,
        "packed": lambda model: make_loop(model, rows, config, model.forward),
        "padded": lambda model: make_loop(model, rows, config, lambda ids: padded_scores(model, ids)),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    parameters: dict[str, Tensor] = {}
    for round_ in range(args.rounds + 1):
        order = list(ways)[round_ % 3 :] + list(ways)[: round_ % 3]
        for way in order:
            model = RewardModel(copy.deepcopy(start.model), start.tokenizer)
            train = ways[way](model)
            began = time.process_time()
            train()
            if round_ > 0:
                seconds[way].append(time.process_time() - began)
            parameters[way] = torch.cat([value.detach().flatten() for value in model.model.parameters()])
    for way in ("packed", "padded"):
        torch.testing.assert_close(parameters["ours"], parameters[way], atol=2e-3, rtol=0)
    ratios = {
        way: median(loop / ours for ours, loop in zip(seconds["ours"], seconds[way], strict=True))
        for way in ("packed", "padded")
    }
    return {"seconds": {way: median(values) for way, values in seconds.items()}, "speed": ratios}


def make_model_and_pairs(width: int, layers: int, n_pairs: int) -> tuple[RewardModel, list[Preference]]:
    """Makes a model of random weights, and pairs: a demonstration against that of another prompt."""
    rows = support_desk.demonstrations(n_pairs, seed=0)
    tokenizer = train_tokenizer((row["prompt"] + row["completion"] for row in rows), vocab_size=1024)
    config = small_llama(tokenizer, hidden_size=width, layers=layers, context=256, seed=0).config
    config.num_labels = 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)
    texts = [row["completion"] for row in rows]
    pairs = [
        Preference(row["prompt"], (text, neighbour))
        for row, text, neighbour in zip(rows, texts, texts[1:] + texts[:1], strict=True)
    ]
    return RewardModel(model, tokenizer), pairs


def make_loop(
    model: RewardModel,
    rows: Sequence[Preference],
    config: RewardModelConfig,
    scores_of: Callable[[list[list[int]]], Tensor],
) -> Callable[[], None]:
    """Makes a plain loop: Bradley-Terry, AdamW, the same schedule, clipping and batches; texts are encoded before."""
    sequences = [[model.encode(row.prompt, text) for text in row.ranking] for row in rows]
    lengths = [max(map(len, pair)) for pair in sequences]
    order = list(iterate_batches(lengths, batch_size=config.batch_size, n_epochs=config.n_epochs, seed=0))
    parameters = list(model.model.parameters())
    optimizer = adamw(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = one_cycle(optimizer, peak=config.learning_rate, n_steps=len(order))

    def train() -> None:
        model.model.train()
        for batch in order:
            scores = scores_of([sequences[row][side] for side in (0, 1) for row in batch])
            chosen, rejected = scores.chunk(2)
            loss = -logsigmoid(chosen - rejected).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            optimizer.step()
            schedule.step()

    return train


def padded_scores(model: RewardModel, sequences: list[list[int]]) -> Tensor:
    """Computes scores by transformers' forward, as a plain loop has them."""
    batch = model.tokenizer.pad({"input_ids": sequences}, return_tensors="pt")
    scores: Tensor = model.model(**batch, use_cache=False).logits[:, 0]
    return scores


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
