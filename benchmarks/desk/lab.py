"""The lab that entrants of a seed share: the SFT model, the reward model of ranked completions, held-out prompts."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM

from textrl_env.agents import sample_completions
from textrl_env.agents.rollouts import Completion, completion_logprobs
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.reward_models import RewardModel
from textrl_env.worlds import support_desk

MAX_NEW_TOKENS = 49
Stage = Callable[[Path, int], Any]
"""Works in a run's folder with a seed."""


@dataclass(frozen=True)
class Point:
    """A policy on the held-out prompts; means per completion."""

    kl: float
    """To the SFT model, in nats."""
    gold: float
    proxy: float


class Lab:
    """One seed's run folder, and what its entrants use of it.

    Args:
        folder: its `sft/`, `preferences/` and `reward_model/` are made here.
        seed: of everything.
        stages: functions of `textrl_env.pipeline` with their options, that make them.
        n_heldout: prompts that policies are measured on, one completion each.
    """

    def __init__(self, folder: Path, seed: int, stages: Sequence[Stage], *, n_heldout: int) -> None:
        self.folder, self.seed = folder, seed
        for stage in stages:
            with quiet():
                stage(folder, seed)
        self.tokenizer = load_tokenizer(folder / "sft")
        self.sft = load_model(AutoModelForCausalLM, folder / "sft")
        self.reward_model = RewardModel.from_trained(folder / "reward_model")
        self.heldout = prompts(n_heldout, seed=seed + 3000, split="heldout")

    def sample(self, model: Any, questions: Sequence[str], *, n: int = 1) -> list[list[Completion]]:
        """Samples `n` completions of each prompt."""
        return sample_completions(
            model, self.tokenizer, questions, max_new_tokens=MAX_NEW_TOKENS, n=n, seed=self.seed, description=None
        )

    def scores(self, questions: Sequence[str], groups: Sequence[Sequence[Completion]]) -> tuple[np.ndarray, np.ndarray]:
        """Scores, by proxy and gold, n completions of each of B prompts, (B, n) each."""
        n = len(groups[0])
        repeated = [prompt for prompt in questions for _ in range(n)]
        texts = [completion.text for group in groups for completion in group]
        gold = np.array(support_desk.gold_reward(repeated, texts))
        return self.reward_model.score(repeated, texts).reshape(-1, n), gold.reshape(-1, n)

    def measure(self, policy: Path) -> Point:
        """Measures the policy in a folder on the held-out prompts."""
        model = load_model(AutoModelForCausalLM, policy)
        groups = self.sample(model, self.heldout)
        completions = [group[0] for group in groups]
        logprobs, reference = (
            np.array(completion_logprobs(lm, completions, vocab_size=len(self.tokenizer))) for lm in (model, self.sft)
        )
        proxy, gold = self.scores(self.heldout, groups)
        return Point(float((logprobs - reference).mean()), float(gold.mean()), float(proxy.mean()))


def prompts(n: int, *, seed: int, split: Any = "train") -> list[str]:
    """Draws customers' messages."""
    return [row["prompt"] for row in support_desk.prompts(n, seed=seed, split=split)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the progress bars and verdicts of a stage."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def as_row(entrant: str, seed: int, setting: float | None, point: Point) -> dict[str, Any]:
    """Makes a row for JSON; `setting` is the KL coefficient, n of best-of-n, or None."""
    return {"entrant": entrant, "seed": seed, "setting": setting, **asdict(point)}
