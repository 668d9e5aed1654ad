"""Reward functions: how they are called, what they may return, and what the environment does when they fail."""

from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import (
    InputError,
    LengthPenalty,
    MissingEOSPenalty,
    RepetitionPenalty,
    TextGenEnv,
    TextGenVectorEnv,
    Weighted,
)
from textrl_env.mdp import RewardSum
from textrl_env.worlds import LetterTokenizer

ROWS = [{"prompt": "ab", "answer": "c", "level": 1}, {"prompt": "cd", "answer": "d"}]


def make(reward: Any, **options: Any) -> TextGenEnv:
    return TextGenEnv(ROWS, reward, LetterTokenizer(8), **{"max_new_tokens": 4, **options})


def last_step(env: TextGenEnv, tokens: list[int], prompt_index: int = 0) -> tuple[float, dict[str, Any]]:
    env.reset(options={"prompt_index": prompt_index})
    for token in tokens:
        _, reward, _, _, info = env.step(token)
    return reward, info


def by_trl(completions: list[str], **kwargs: Any) -> list[float]:
    names = {"prompts", "rendered_prompts", "prompt_ids", "completion_ids", "finish_reason"}
    assert set(kwargs) == {*names, "answer", "level"}
    return [float(text == answer) for text, answer in zip(completions, kwargs["answer"], strict=True)]


def by_column(prompts: list[str], completions: list[str], answer: list[str]) -> list[float]:
    return [float(text == right) for text, right in zip(completions, answer, strict=True)]


def with_default(completions: list[str], scale: float = 7.0) -> list[float]:
    return [scale * len(text) for text in completions]


class Verifier:
    def __call__(self, prompts: list[str], completions: list[str], **columns: Any) -> torch.Tensor:
        return torch.tensor([float(len(text)) for text in completions])


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (lambda prompts, completions: [len(prompts[0]) + 10 * len(completions[0])], 12.0),
        (lambda completions, prompts: [len(prompts[0]) + 10 * len(completions[0])], 12.0),
        (lambda prompts, completions, **columns: np.array([len(columns["answer"])]), 1.0),
        (by_trl, 1.0),
        (by_column, 1.0),
        (with_default, 7.0),
        (Verifier(), 1.0),
        (lambda prompts, completions: (True,), 1.0),
    ],
)
def test_ways_to_write_a_reward_function(reward: Any, expected: float) -> None:
    assert last_step(make(reward), [3, 0])[0] == expected


def test_columns_follow_their_rows_and_lacking_ones_are_none() -> None:
    seen: list[Any] = []

    def look(prompts: list[str], completions: list[str], level: list[Any] = (), answer: list[Any] = ()) -> list[float]:  # type: ignore[assignment]
        seen.append((prompts, list(level), list(answer)))
        return [0.0] * len(prompts)

    env = make(look)
    last_step(env, [0], prompt_index=0)
    last_step(env, [0], prompt_index=1)
    assert seen == [(["ab"], [1], ["c"]), (["cd"], [None], ["d"])]
    sums = RewardSum(look, columns=["level", "answer"])
    columns = {"level": [1, None], "answer": ["c", "d"]}
    sums({"prompts": ["x", "y"], "completions": ["", ""], **columns}, prompt_indices=[0, 1])
    assert seen[-1] == (["x", "y"], [1, None], ["c", "d"])


def test_a_prompt_from_elsewhere_has_columns_of_none_and_takes_none_from_others() -> None:
    seen: list[Any] = []

    def look(prompts: list[str], completions: list[str], answer: list[str | None]) -> list[float]:
        seen.append((prompts, answer))
        return [0.0] * len(prompts)

    env = make(look)
    env.reset(options={"prompt": "f"})
    env.step(0)
    vector = TextGenVectorEnv(ROWS, look, LetterTokenizer(8), num_envs=2, max_new_tokens=4)
    vector.reset(options={"prompt_index": 1})
    vector.reset(options={"prompt": "f", "reset_mask": np.array([True, False])})
    vector.step(np.zeros(2, dtype=np.int64))
    assert seen == [(["f"], [None]), (["f", "cd"], [None, "d"])]


def test_terms_are_weighted_named_and_summed() -> None:
    env = make(
        {"right": Weighted(by_column, 2.0), "long": Weighted(LengthPenalty(free=1), 0.5), "one": lambda prompts: [1]}
    )
    reward, info = last_step(env, [3, 0])
    assert info["reward_terms"] == {"right": 2.0, "long": -0.5, "one": 1.0}
    assert reward == info["score"] == 2.5


@pytest.mark.parametrize(
    ("penalty", "tokens", "expected"),
    [
        (LengthPenalty(free=2), [1, 0], 0.0),
        (LengthPenalty(free=2), [1, 1, 1, 0], -2.0),
        (MissingEOSPenalty(), [1, 1, 1, 0], 0.0),
        (MissingEOSPenalty(), [1, 1, 1, 1], -1.0),
        (RepetitionPenalty(n=2), [1, 1, 1, 1], -2 / 3),
        (RepetitionPenalty(n=2), [1, 2, 1, 2], -1 / 3),
        (RepetitionPenalty(n=2), [1, 2, 3, 4], 0.0),
        (RepetitionPenalty(n=3), [1, 0], 0.0),
    ],
)
def test_penalties(penalty: Any, tokens: list[int], expected: float) -> None:
    assert last_step(make(penalty), tokens)[0] == pytest.approx(expected)


def broken(kind: str, working: list[bool]) -> Any:
    def my_reward(prompts: list[str], completions: list[str]) -> Any:
        if working:
            return [3.0]
        if kind == "raises":
            raise KeyError("oops")
        return {
            "nan": [float("nan")],
            "inf": [float("inf")],
            "none": [None],
            "count": [1.0, 2.0],
            "empty": [],
            "scalar": 1.0,
            "words": ["good"],
            "nothing": None,
            "grid": [[1.0]],
            "ragged": [[1.0, 2.0], [3.0]],
        }[kind]

    return my_reward


@pytest.mark.parametrize(
    "kind",
    ["raises", "nan", "inf", "none", "count", "empty", "scalar", "words", "nothing", "grid", "ragged"],
)
def test_a_failing_function_is_named_and_the_step_can_be_repeated(kind: str) -> None:
    working: list[bool] = []
    env = make(broken(kind, working))
    env.reset(options={"prompt_index": 1})
    before = env.step(5)[0]
    with pytest.raises(InputError) as caught:
        env.step(0)
    message = str(caught.value)
    assert "my_reward" in message
    assert "prompt 1" in message
    assert "'e'" in message
    if kind == "raises":
        assert "KeyError" in message
        assert "oops" in message
        assert isinstance(caught.value.__cause__, KeyError)
    working.append(True)
    after, reward, terminated, _, info = env.step(0)
    assert after["input_ids"].tolist() == [*before["input_ids"][1:].tolist(), 0]
    assert (reward, terminated, info["n_completion_tokens"], info["score"]) == (3.0, True, 2, 3.0)


def test_the_completion_that_is_not_finite_is_the_one_named() -> None:
    reward = RewardSum(lambda completions: [1.0, float("nan")])
    with pytest.raises(InputError, match=r"nan for prompt 7, completion 'bad'"):
        reward({"prompts": ["x", "y"], "completions": ["fine", "bad"]}, prompt_indices=[3, 7])


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ({}, "no reward function"),
        (3, "'score' must be a function"),
        ({"a": "len"}, "'a' must be a function"),
        ({"kl": by_column}, "'kl' is taken"),
        ({"reference": by_column}, "'reference' is taken"),
    ],
)
def test_impossible_rewards_are_named(reward: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(reward)
