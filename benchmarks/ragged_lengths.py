"""What refilling slots gains where completions end at very different lengths.

Every completion has a length of its own, drawn evenly from 4 to 128 tokens, at which it ends whatever is sampled; so
all ways generate the same number of tokens. Four ways, measured in turn. Refilling starts a new completion in a slot as
soon as one ends. In lockstep a batch of all slots goes on until its longest completion ends, and only then the next
batch starts: the same policy code in the same environment, where rows that have ended are computed with the others
(`lockstep`), or are dropped once they are half of the rows (`dropping`, which `collect` does by itself at its end); and
transformers' `generate`, without any environment. The bar is over `lockstep`.
Prints tokens per processor second (of one thread) and the ratios, and writes JSON.

    python benchmarks/ragged_lengths.py --sizes XS S
"""

import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from iteration.job import SIZES, Job, write_job
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import LogitsProcessor

from textrl_env import TextGenVectorEnv
from textrl_env.agents import ActorCriticLM, collect

SHORTEST, LONGEST = 4, 128
LEAST_GAIN = 1.5
END = 1


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    sizes: tuple[str, ...] = tuple(SIZES)
    """Of the networks; see ppo_iteration.py."""
    num_envs: int = 64
    """Slots."""
    batches: int = 8
    """Completions per slot."""
    rounds: int = 5
    """How often each way is measured; the median is reported."""
    out: Path = Path(__file__).parent / "results" / "ragged_lengths.json"
    """The measurements."""


class EndingActor:
    """A policy whose episodes end at given lengths: there it chooses the end token, elsewhere never.

    Args:
        agent: chooses all other tokens.
        lengths: (E,) tokens of the episodes, in the order in which they start.
    """

    def __init__(self, agent: ActorCriticLM, lengths: np.ndarray) -> None:
        self._agent, self._lengths = agent, iter(lengths.tolist())
        self._remaining = np.zeros(0, dtype=np.int64)

    def act(self, observation: dict[str, Any], *, live: Any, action_masks: Any = None) -> tuple[Any, Any]:
        if not len(self._remaining):
            self._remaining = np.zeros(len(live), dtype=np.int64)
        for slot in np.flatnonzero(live & (self._remaining == 0)):
            self._remaining[slot] = next(self._lengths)
        tokens, logprobs = self._agent.act(observation, live=live)
        self._remaining[live] -= 1
        tokens = np.where(tokens == END, END + 1, tokens)
        return np.where(live & (self._remaining == 0), END, tokens), logprobs


def environment(job: Job, num_envs: int, **options: Any) -> TextGenVectorEnv:
    return TextGenVectorEnv(
        job.prompts,
        lambda prompts, completions: [0.0] * len(prompts),
        job.tokenizer(),
        num_envs=num_envs,
        max_new_tokens=LONGEST,
        autoreset_mode="Disabled",
        **options,
    )


def refilling(env: TextGenVectorEnv, agent: ActorCriticLM, lengths: np.ndarray) -> int:
    """Tokens of all episodes, gathered in one go."""
    rollout = collect(env, EndingActor(agent, lengths), len(lengths))
    assert rollout is not None
    return rollout.n_tokens


def dropping(env: TextGenVectorEnv, agent: ActorCriticLM, lengths: np.ndarray) -> int:
    """Tokens of all episodes, batch after batch; rows that have ended are dropped from the cache by and by."""
    return sum(refilling(env, agent, batch) for batch in np.split(lengths, len(lengths) // env.num_envs))


def lockstep(endless: TextGenVectorEnv, agent: ActorCriticLM, lengths: np.ndarray) -> int:
    """Tokens of all episodes, batch after batch, each as long as its longest; what a row says later does not count."""
    for batch in np.split(lengths, len(lengths) // endless.num_envs):
        endless.abandon(np.ones(endless.num_envs, dtype=np.bool_))
        observation, _ = endless.reset()
        for _ in range(batch.max()):
            tokens, _ = agent.act(observation)
            observation, *_ = endless.step(tokens)
    return int(lengths.sum())


class EndAt(LogitsProcessor):
    """What `EndingActor` does, for `generate`: rows end at lengths of their own and nowhere else."""

    def __init__(self, lengths: Tensor, prompt_width: int) -> None:
        self._lengths, self._prompt_width = lengths, prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        ends = input_ids.shape[1] - self._prompt_width + 1 >= self._lengths
        scores[:, END] = -torch.inf
        scores[ends] = -torch.inf
        scores[ends, END] = 0.0
        return scores


def generating(job: Job, policy: Any, prompts: Any, lengths: np.ndarray, rows: int) -> int:
    """Tokens of all episodes, batch after batch of `rows`, by `generate`."""
    count = 0
    for start in range(0, len(lengths), rows):
        chosen = torch.arange(start, start + rows) % len(job.prompts)
        ids, mask = prompts.input_ids[chosen], prompts.attention_mask[chosen]
        end_at = EndAt(torch.from_numpy(lengths[start : start + rows]), ids.shape[1])
        sequences = policy.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=LONGEST,
            do_sample=True,
            top_k=0,
            logits_processor=[end_at],
        )
        completions = sequences[:, ids.shape[1] :]
        count += int(((completions == END).cumsum(dim=1) == 0).sum()) + rows
    return count


def measure(size: str, args: Args) -> dict[str, float]:
    """Tokens per processor second of every way, and the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        write_job(Path(folder), replace(SIZES[size], tokens=LONGEST))
        job = Job(Path(folder))
        agent = ActorCriticLM(job.policy(), vocab_size=SIZES[size].vocabulary, critic="none")
        env = environment(job, args.num_envs)
        env.reset(seed=0)
        endless = environment(job, args.num_envs, eos_token_ids=[])
        endless.reset(seed=0)
        prompts = job.tokenizer()(job.prompts, padding=True, return_tensors="pt")
        ways = {
            "refilling": lambda lengths: refilling(env, agent, lengths),
            "lockstep": lambda lengths: lockstep(endless, agent, lengths),
            "dropping": lambda lengths: dropping(env, agent, lengths),
            "generate": lambda lengths: generating(job, agent.policy, prompts, lengths, args.num_envs),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        rng = np.random.default_rng(0)
        for _ in range(args.rounds):
            lengths = rng.integers(SHORTEST, LONGEST + 1, size=args.num_envs * args.batches)
            for name, way in ways.items():
                start = time.process_time()
                tokens = way(lengths)
                rates[name].append(tokens / (time.process_time() - start))
                assert tokens == lengths.sum(), f"{tokens} tokens instead of {lengths.sum()}"
    medians = {name: median(values) for name, values in rates.items()}
    ratios = {f"refilling / {way}": medians["refilling"] / medians[way] for way in ways if way != "refilling"}
    return medians | ratios


def main(args: Args) -> dict[str, dict[str, float]]:
    """Measures, prints, writes; returns the figures by size."""
    torch.set_num_threads(1)
    result = {size: measure(size, args) for size in args.sizes}
    table = Table("size", "refilling, tokens/s", "", "tokens/s", "refilling is faster by", title="refilling slots")
    for size, row in result.items():
        for way in ("lockstep", "dropping", "generate"):
            ratio = row[f"refilling / {way}"]
            mark = "[green]holds[/green]" if ratio >= LEAST_GAIN else "[red]falls short[/red]"
            promise = f" (at least {LEAST_GAIN}: {mark})" if way == "lockstep" else ""
            table.add_row(size, f"{row['refilling']:.0f}", way, f"{row[way]:.0f}", f"{ratio:.2f}{promise}")
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
