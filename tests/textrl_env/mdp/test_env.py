"""The single environment: what Gymnasium and Stable-Baselines3 ask, when the score is paid, how episodes end."""

import copy
import pickle
import random
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

PROMPTS = ["abc", "de", "f", "gabcd"]
LENGTH = 5 + 5
EOS = 0


def count_a(completions: list[str], **columns: Any) -> list[float]:
    return [1 + text.count("a") / 4 for text in completions]


def make(prompts: Any = PROMPTS, reward: Any = count_a, **options: Any) -> TextGenEnv:
    return TextGenEnv(prompts, reward, LetterTokenizer(8), **{"max_new_tokens": 5, **options})


def play(env: TextGenEnv, tokens: list[int], **reset: Any) -> list[tuple[Any, ...]]:
    env.reset(**reset)
    return [env.step(token) for token in tokens]


@pytest.fixture(params=["plain", "reference"])
def options(request: pytest.FixtureRequest, make_model: Any) -> dict[str, Any]:
    if request.param == "plain":
        return {}
    return {"kl": KLShaping(coef=0.1), "reference": FrozenReference(make_model("gpt2"), vocab_size=8)}


@pytest.mark.parametrize("through", ["class", "make"])
def test_checkers_have_nothing_to_say(options: dict[str, Any], through: str) -> None:
    common = {"prompts": PROMPTS, "reward": count_a, "tokenizer": LetterTokenizer(8), "max_new_tokens": 5, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make("TextRL/TextGen-v0", **common)
        assert made.spec is not None
        assert made.spec.max_episode_steps is None
        env = made.unwrapped if through == "make" else TextGenEnv(**common)
        # Without a spec the checker cannot make the environment again to try its render modes.
        check_env(env, skip_render_check=through == "class")
        check_env_sb3(env)
        made.reset(seed=0)
        for _ in range(20):
            if any(made.step(made.action_space.sample())[2:4]):
                made.reset()


def test_score_is_paid_on_the_last_chosen_token_and_once() -> None:
    calls: list[list[str]] = []

    def recorded(prompts: list[str], completions: list[str]) -> list[float]:
        calls.append([*prompts, *completions])
        return [2.5]

    steps = play(make(reward=recorded), [1, 2, EOS], options={"prompt_index": 1})
    assert calls == [["de", "ab"]]
    assert [step[1] for step in steps] == [0.0, 0.0, 2.5]
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (True, False)]
    assert [step[4]["score"] for step in steps] == [0.0, 0.0, 2.5]
    assert [step[4]["finish_reason"] for step in steps] == ["", "", "eos"]
    assert [step[4]["n_completion_tokens"] for step in steps] == [1, 2, 3]


@pytest.mark.parametrize(
    ("tokens", "finish_reason", "completion"),
    [
        ([EOS], "eos", ""),
        ([1, 1, 1, 1, EOS], "eos", "aaaa"),
        ([1, 1, 1, 1, 1], "length", "aaaaa"),
        ([1, 3, 4], "stop", "a"),
        ([3, 4], "stop", ""),
        ([1, 1, 1, 3, 4], "stop", "aaa"),
        ([2, 4, 3, 5, EOS], "eos", "bdce"),
    ],
)
@pytest.mark.parametrize("length_limit", ["scored", "cut"])
def test_how_an_episode_ends(tokens: list[int], finish_reason: str, completion: str, length_limit: str) -> None:
    scored: list[tuple[str, str]] = []

    def recorded(completions: list[str], finish_reason: list[str], **columns: Any) -> list[float]:
        scored.extend(zip(completions, finish_reason, strict=True))
        return [1.0]

    env = make(reward=recorded, stop_strings=["cd"], length_limit=length_limit, include_text=True)
    *earlier, (_, reward, terminated, truncated, info) = play(env, tokens, seed=0)
    assert not any(step[1] or step[2] or step[3] for step in earlier)
    assert (info["finish_reason"], info["completion"]) == (finish_reason, completion)
    assert info["n_completion_tokens"] == len(tokens)
    if finish_reason == "length" and length_limit == "cut":
        assert (reward, terminated, truncated, info["score"], scored) == (0.0, False, True, 0.0, [])
    else:
        assert (reward, terminated, truncated, info["score"]) == (1.0, True, False, 1.0)
        assert scored == [(completion, finish_reason)]


def test_observation_is_left_padded_with_the_newest_token_last() -> None:
    env = make()
    observation, _ = env.reset(options={"prompt_index": 1})
    assert observation["input_ids"].tolist() == [0] * 8 + [4, 5]
    assert observation["attention_mask"].tolist() == [0] * 8 + [1, 1]
    env.step(7)
    observation = env.step(3)[0]
    assert observation["input_ids"].tolist() == [0] * 6 + [4, 5, 7, 3]
    assert observation["attention_mask"].tolist() == [0] * 6 + [1] * 4
    # The end token has the id of padding, and counts: masks come from lengths.
    observation = env.step(EOS)[0]
    assert observation["attention_mask"].tolist() == [0] * 5 + [1] * 5
    assert (observation["input_ids"].dtype, observation["attention_mask"].dtype) == (np.int64, np.int8)


def test_observations_are_fresh_arrays() -> None:
    env = make()
    kept = [env.reset(seed=0)[0], *(env.step(token)[0] for token in (1, 2, 3))]
    before = copy.deepcopy(kept)
    for observation in kept:
        for key, values in observation.items():
            values[:] = 1 - values
            assert not any(np.shares_memory(values, other[key]) for other in kept if other is not observation)
    assert env.step(4)[0]["input_ids"][:-1].tolist() == before[-1]["input_ids"][1:].tolist()
    assert env.step(EOS)[0]["attention_mask"].sum() == before[-1]["attention_mask"].sum() + 2


@pytest.mark.parametrize(
    "mode", ["none", "reference", "sampled", "exact", "reference by episode", "sampled by episode"]
)
def test_info_has_constant_keys_scalars_and_a_ledger_that_sums_to_the_reward(mode: str, make_model: Any) -> None:
    options: dict[str, Any] = {"include_text": True}
    if mode != "none":
        name, _, pay = mode.partition(" by ")
        options |= {"kl": KLShaping(0.3, name, pay=pay or "step")}  # type: ignore[arg-type]
        options |= {"reference": FrozenReference(make_model("gpt2"), vocab_size=8)}
    env = make(reward={"a": count_a, "b": lambda prompts, completions: [-0.7]}, **options)
    rng = np.random.default_rng(0)
    keys = set(env.reset(seed=0)[1])
    for _ in range(40):
        token = int(rng.integers(8))
        extra = {"sampled": {"logprob": -1.5}, "exact": {"logprobs": np.full(8, -np.log(8))}}.get(mode.split()[0])
        _, reward, terminated, truncated, info = env.step(token if extra is None else {"token": token, **extra})
        assert set(info) == keys
        assert type(reward) is float
        assert abs(sum(info["reward_terms"].values()) - reward) < 1e-6
        assert set(info["reward_terms"]) >= {"a", "b"}
        parts = info.pop("token_rewards", None)
        assert (parts is not None) == ("episode" in mode)
        if parts is not None and terminated:
            assert parts.sum() == pytest.approx(reward, abs=1e-6)
        flat = [value for value in info.values() if not isinstance(value, dict)] + [*info["reward_terms"].values()]
        assert all(type(value) in (int, float, str) for value in flat)
        assert all(value == value for value in flat)
        if terminated or truncated:
            assert set(env.reset()[1]) == keys


def test_reset_options_choose_the_prompt() -> None:
    env = make(include_text=True)
    assert env.reset(options={"prompt_index": 3})[1]["prompt"] == "gabcd"
    observation, info = env.reset(options={"prompt": "gg"})
    assert (info["prompt"], info["prompt_index"]) == ("gg", -1)
    assert observation["input_ids"][-3:].tolist() == [0, 7, 7]
    env.step(1)
    assert env.step(2)[4]["prompt"] == "gg"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_index": 4}, "prompt_index.*4"),
        ({"prompt_index": -1}, "prompt_index"),
        ({"prompt_index": True}, "prompt_index"),
        ({"prompt": ""}, "is empty"),
        ({"prompt": 3}, "must be text, got int"),
        ({"prompt": "abcdef"}, "6 tokens"),
        ({"prompt": [{"role": "user", "content": "a"}]}, "must be a str, as the dataset's prompts are"),
        ({"promt": "abc"}, "promt"),
        ({"prompt": "abc", "prompt_index": 0}, "both 'prompt' and 'prompt_index'"),
    ],
)
def test_bad_reset_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make().reset(options=options)


def test_seed_decides_the_prompts_and_every_prompt_is_drawn() -> None:
    def drawn(seed: int) -> list[int]:
        env = make()
        return [env.reset(seed=seed)[1]["prompt_index"]] + [env.reset()[1]["prompt_index"] for _ in range(40)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert set(drawn(1)) == {0, 1, 2, 3}


def test_no_global_generator_is_touched(options: dict[str, Any]) -> None:
    def states() -> list[Any]:
        kind, keys, *rest = np.random.get_state()
        return [random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()]  # type: ignore[union-attr]

    before = states()
    env, vector = make(**options), TextGenVectorEnv(PROMPTS, count_a, LetterTokenizer(8), num_envs=3, **options)
    env.reset(seed=1)
    vector.reset(seed=1)
    for token in (1, 2, EOS):
        env.step(token)
        vector.step(np.full(3, token))
    env.reset()
    assert states() == before


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"]
)
def test_a_copy_made_mid_episode_continues_alike(options: dict[str, Any], copied: Any) -> None:
    env = make(**options)
    env.reset(seed=5)
    env.step(3)
    twin = copied(env)
    for token in (2, 4, EOS):
        mine, theirs = env.step(token), twin.step(token)
        assert mine[0]["input_ids"].tolist() == theirs[0]["input_ids"].tolist()
        assert mine[1] == pytest.approx(theirs[1], abs=1e-5)
        assert mine[2:4] == theirs[2:4]
    prompts = [env.reset()[1]["prompt_index"] for _ in range(20)]
    assert prompts == [twin.reset()[1]["prompt_index"] for _ in range(20)]


def test_record_episode_statistics_counts_right(options: dict[str, Any]) -> None:
    env = RecordEpisodeStatistics(make(**options))
    rng = np.random.default_rng(0)
    for episode in range(30):
        rewards: list[float] = []
        env.reset(seed=episode)
        terminated = False
        while not terminated:
            _, reward, terminated, _, info = env.step(int(rng.integers(8)))
            rewards.append(reward)
            assert ("episode" in info) == terminated
        assert info["episode"]["r"] == pytest.approx(sum(rewards), abs=1e-5)
        assert info["episode"]["l"] == len(rewards) == info["n_completion_tokens"]
    assert env.episode_count == 30


def test_ansi_rendering_shows_the_ledger_and_human_rendering_prints_each_token_once(capsys: Any) -> None:
    env = make(render_mode="ansi")
    play(env, [1, EOS], options={"prompt_index": 0})
    assert env.render().splitlines()[0] == "abc"  # type: ignore[union-attr]
    assert "score +1.250" in env.render().splitlines()[-1]  # type: ignore[union-attr]
    play(make(render_mode="human"), [2, 3, EOS], options={"prompt_index": 1})
    assert re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out) == "\ndebc.\n"
