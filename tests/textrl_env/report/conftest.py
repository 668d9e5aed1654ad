"""A run directory as a finished run leaves it: proxy rises to the end, gold turns over on the way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OPENINGS = ("my parcel has not come", "i was charged twice", "the app logs me out", "how do i return a jacket")
TAILS = ("", " and nobody answers", " , please help", " since monday , this is absurd", " . can you check ?")
PLAIN = ("i can look at that .", "the order is late .", "go to the settings page .", "ok . i will check .")
WARM = (
    "i am sorry about that . i have opened a case and you will hear from us today .",
    "thank you for telling us . i have sent the refund , it takes two days .",
    "of course ! please sign in again , then choose keep me signed in .",
)
HACKED = "thank you ! thank you so much ! happy to help , happy to help , thank you !"


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def ppo_rows(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    t = np.arange(1, n + 1) / n
    kl = 9.4 * t**0.8 + rng.normal(0, 0.25, n) * t
    proxy = -0.4 + 3.1 * (1 - np.exp(-2.6 * t)) + rng.normal(0, 0.12, n)
    gold = 1.1 + 3.4 * t * np.exp(-1.9 * t) + rng.normal(0, 0.07, n)
    columns = {
        "objective/kl": np.maximum(kl, 0),
        "objective/entropy": 1.9 - 0.9 * t + rng.normal(0, 0.03, n),
        "objective/scores": proxy,
        "objective/gold": gold,
        "objective/rlhf_reward": proxy - 0.08 * kl,
        "objective/non_score_reward": -0.08 * kl,
        "rollout/ep_rew_mean": proxy - 0.08 * kl,
        "rollout/ep_len_mean": 13 + 6 * t + rng.normal(0, 0.3, n),
        "train/approx_kl": 0.012 + 0.004 * rng.standard_normal(n).clip(-2, 2),
        "train/clip_fraction": 0.11 + 0.02 * rng.standard_normal(n).clip(-2, 2),
        "train/explained_variance": 0.85 - 0.8 * np.exp(-8 * t) + rng.normal(0, 0.02, n),
        "train/value_loss": 0.12 + 0.6 * np.exp(-6 * t) + rng.normal(0, 0.012, n),
        "train/policy_gradient_loss": -0.012 + rng.normal(0, 0.003, n),
    }
    steps = [{"time/iterations": i + 1, "time/total_timesteps": 1024 * (i + 1)} for i in range(n)]
    return [{**step, **{k: round(float(v[i]), 5) for k, v in columns.items()}} for i, step in enumerate(steps)]


def completion_rows(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    rows = []
    for i in range(n):
        hacked = rng.random() < 0.15
        sft_gold, proxy = rng.normal(1.1, 0.6), rng.normal(-0.4, 0.5)
        rows.append(
            {
                "prompt": f"customer : {OPENINGS[i % 4]}{TAILS[i % 5]}",
                "sft": str(rng.choice(PLAIN)),
                "ppo": HACKED if hacked else str(rng.choice(WARM)),
                "gold_sft": round(float(sft_gold), 3),
                "gold_ppo": round(
                    float(sft_gold - rng.uniform(0.3, 1.5) if hacked else sft_gold + rng.gamma(2, 0.4)), 3
                ),
                "proxy_sft": round(float(proxy), 3),
                "proxy_ppo": round(float(proxy + rng.gamma(5, 0.55) + hacked), 3),
            }
        )
    return rows


def summary() -> dict[str, float]:
    terms = {"helpful": (0.42, 0.71), "polite": (0.31, 0.83), "harmless": (0.94, 0.96), "honest": (0.66, 0.52)}
    terms["concise"] = (-0.12, -0.31)
    stages = {"tokenizer": 1.2, "sft": 41.7, "preferences": 8.9, "reward_model": 33.1, "ppo": 264.2, "evaluation": 12.3}
    return {
        "gold_sft": 1.104,
        "gold_sft_low": 1.052,
        "gold_sft_high": 1.157,
        "gold_ppo": 1.683,
        "gold_ppo_low": 1.62,
        "gold_ppo_high": 1.745,
        "gold_win_rate": 0.7837,
        "gold_win_rate_low": 0.7461,
        "gold_win_rate_high": 0.8171,
        "proxy_sft": -0.412,
        "proxy_sft_low": -0.47,
        "proxy_sft_high": -0.35,
        "proxy_ppo": 2.468,
        "proxy_ppo_low": 2.39,
        "proxy_ppo_high": 2.55,
        "proxy_win_rate": 0.9512,
        "proxy_win_rate_low": 0.929,
        "proxy_win_rate_high": 0.967,
        "kl": 9.31,
        "kl_low": 9.12,
        "kl_high": 9.5,
        "length_sft": 13.2,
        "length_ppo": 18.9,
        "distinct_1_sft": 0.214,
        "distinct_1_ppo": 0.143,
        "distinct_2_sft": 0.487,
        "distinct_2_ppo": 0.296,
        "rm_accuracy": 0.768,
        "rm_ceiling": 0.842,
        "rm_ece": 0.027,
        "seconds": 361.4,
        "seed": 7,
        **{f"gold_{k}_sft": v[0] for k, v in terms.items()},
        **{f"gold_{k}_ppo": v[1] for k, v in terms.items()},
        **{f"seconds_{k}": v for k, v in stages.items()},
    }


def make_run(run_dir: Path, *, updates: int = 160, prompts: int = 120) -> Path:
    """Write a whole run directory; the same bytes on every call."""
    rng = np.random.default_rng(0)
    write_json(run_dir / "summary.json", summary())
    config = {
        "seed": 7,
        "world": "support-desk",
        "sft": {"epochs": 3, "batch_size": 32, "learning_rate": 0.001},
        "reward_model": {"epochs": 2, "batch_size": 64, "learning_rate": 0.0005, "pairs": 4000},
        "ppo": {
            "total_timesteps": 163840,
            "n_envs": 64,
            "clip_range": 0.2,
            "gae_lambda": 0.95,
            "gamma": 1.0,
            "kl": {"coef": 0.08, "mode": "sampled", "estimator": "k1", "controller": "fixed"},
        },
        "evaluation": {"prompts": 120, "temperature": 1.0},
    }
    manifest = {
        "command": "textrl rlhf --world support-desk --seed 7 --ppo.total-timesteps 163840 --out runs/support-desk-7",
        "versions": {"textrl-env": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "gymnasium": "1.4.0"},
        "config": config,
        "title": "Support desk: PPO against a learned reward",
        "world": "support-desk",
    }
    write_json(run_dir / "manifest.json", manifest)
    write_rows(run_dir / "ppo" / "progress.jsonl", ppo_rows(rng, updates))
    sft = [
        {"step": s, "loss": round(1.3 + 2.6 * float(np.exp(-s / 90)) + rng.normal(0, 0.05), 4)}
        for s in range(1, 401, 4)
    ]
    for row in sft[9::10]:
        row["heldout_loss"] = round(row["loss"] + 0.08, 4)
    write_rows(run_dir / "sft" / "progress.jsonl", sft)
    centre = np.arange(0.05, 1, 0.1)
    count = [34, 61, 88, 117, 142, 151, 133, 121, 96, 57]
    seen = 0.5 + 0.86 * (centre - 0.5) + rng.normal(0, 0.018, 10)
    margins = (0.0, 0.5, 1.0, 1.5, 2.0), (0.581, 0.702, 0.834, 0.911, 0.957), (310, 270, 220, 130, 70)
    metrics = {
        "accuracy": 0.768,
        "ceiling": 0.842,
        "ece": 0.0271,
        "n_pairs": 1000,
        "calibration": [
            {"predicted": round(float(p), 3), "observed": round(float(o), 3), "count": c}
            for p, o, c in zip(centre, seen, count, strict=True)
        ],
        "accuracy_by_margin": [
            {"margin_low": low, "margin_high": low + 0.5, "accuracy": a, "count": c}
            for low, a, c in zip(*margins, strict=True)
        ],
        "loss_curve": [
            {"step": s, "loss": round(0.49 + 0.2 * float(np.exp(-s / 20)) + rng.normal(0, 0.012), 4)}
            for s in range(1, 126)
        ],
    }
    write_json(run_dir / "reward_model" / "metrics.json", metrics)
    write_rows(run_dir / "evaluation" / "completions.jsonl", completion_rows(rng, prompts))
    return run_dir


@pytest.fixture
def make_fixture() -> Callable[[Path], Path]:
    return make_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")
