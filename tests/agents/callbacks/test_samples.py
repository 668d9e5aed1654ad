"""A reward that is tracked beside training receives what the environment's receives, and is refused as that is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.agents.callbacks import EvaluateOnPrompts, TrackReward
from textrl_env.agents.rollouts import best_of_n
from textrl_env.worlds import LetterTokenizer

ROWS = [{"prompt": "abcde", "answer": "a"}, {"prompt": "f", "answer": "c"}, {"prompt": "gab"}]


def in_words(
    prompts: Any, completions: Any, answer: Any, prompt_ids: Any, completion_ids: Any, finish_reason: Any
) -> list[float]:
    """A score that differs where any of its arguments does."""
    rows = zip(prompts, completions, answer, prompt_ids, completion_ids, finish_reason, strict=True)
    return [float(sum(map(ord, repr(row)))) for row in rows]


def train(make_model: Any, callback: Any, log_dir: Path) -> None:
    env = TextGenVectorEnv(
        ROWS,
        in_words,
        LetterTokenizer(8),
        num_envs=4,
        autoreset_mode="Disabled",
        max_new_tokens=6,
        stop_strings=["bc", "d"],
    )
    agent = ActorCriticLM(make_model("gpt2"), vocab_size=8)
    ppo = PPO(agent, env, n_episodes=64, batch_size=64, n_epochs=1, log_dir=log_dir, seed=0)
    ppo.learn(total_updates=2, callback=callback)


def test_the_environments_own_reward_tracked_is_its_score(make_model: Any, tmp_path: Path) -> None:
    train(make_model, TrackReward("again", in_words), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["objective/again"] == pytest.approx(row["objective/scores"], rel=1e-6)


@pytest.mark.parametrize(
    "callback",
    [
        TrackReward("gold", lambda completions, solution: [0.0] * len(completions)),
        EvaluateOnPrompts(ROWS, {"gold": lambda completions, solution: [0.0] * len(completions)}),
        EvaluateOnPrompts([{"prompt": "ab", "solution": "c"}]),
    ],
)
def test_what_no_column_fills_ends_training_before_its_first_step(
    callback: Any, make_model: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"needs '(solution|answer)', which nothing fills"):
        train(make_model, callback, tmp_path)
    assert not (tmp_path / "progress.jsonl").exists() or not (tmp_path / "progress.jsonl").read_text()


def test_best_of_n_refuses_a_reward_before_it_samples() -> None:
    with pytest.raises(InputError, match=r"in_words needs 'answer'.*columns are: none"):
        best_of_n(None, None, ["a"], in_words, n=2, max_new_tokens=2)


def test_best_of_n_takes_scores_of_any_kind(make_model: Any) -> None:
    def judge(raw_completions: Any, prompt_ids: Any) -> Any:
        return (np.float16(len(text) + ids[0]) for text, ids in zip(raw_completions, prompt_ids, strict=True))

    def never(completions: Any) -> Any:
        return [None] * len(completions)

    reward = {"judge": judge, "never": never}
    best = best_of_n(make_model("gpt2"), LetterTokenizer(8), ["a", "f"], reward, n=4, max_new_tokens=4)
    assert [row.score for row in best] == [max(row.scores) for row in best]
