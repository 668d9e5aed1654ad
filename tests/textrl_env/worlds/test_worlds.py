"""Every world has one interface and one id: checkers are silent, vector equals singles, seeds decide."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.reference import FrozenReference
from textrl_env.registry import WORLDS
from textrl_env.worlds import CharacterTokenizer, EnumerableWorld, HackableWorld, exact, support_desk
from textrl_env.worlds.support_desk import SupportDeskWorld

IDS = list(WORLDS)
HEADINGS = "Description, Action Space, Observation Space, Rewards, Starting State, Episode End, Information, Arguments"


def world_of(name: str, **parameters: Any) -> Any:
    return load_env_creator(WORLDS[name])(**parameters)


def test_every_registered_id_is_a_world_or_the_environment_itself() -> None:
    """The checkers run on each: here on the worlds, in test_env.py on the environment."""
    registered = {name for name in gymnasium.registry if name.startswith("TextRL/")}
    assert registered == {"TextRL/TextGen-v0", *IDS}


@pytest.mark.parametrize("name", IDS)
def test_checkers_have_nothing_to_say(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make(name)
        assert made.spec is not None and made.spec.max_episode_steps is None
        check_env(made.unwrapped)
        check_env_sb3(made.unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_the_id_and_the_interface_make_the_same_environment(name: str) -> None:
    world = world_of(name)
    mine = TextGenEnv(world.prompts, world.reward, world.tokenizer, max_new_tokens=world.max_new_tokens)
    made = gymnasium.make(name)
    assert made.action_space == mine.action_space and made.observation_space == mine.observation_space
    rng = np.random.default_rng(0)
    for seed in range(3):
        np.testing.assert_equal(made.reset(seed=seed), mine.reset(seed=seed))
        ended = False
        while not ended:
            action = rng.integers(len(world.tokenizer))
            theirs, ours = made.step(action), mine.step(action)
            np.testing.assert_equal(theirs, ours)
            ended = ours[2]


@pytest.mark.parametrize("name", IDS)
def test_the_vector_environment_equals_singles(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=3, autoreset_mode="SameStep")
    sync = gymnasium.make_vec(
        name, num_envs=3, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}
    )
    assert isinstance(env, TextGenVectorEnv)
    mine, theirs = env.reset(seed=5)[0], sync.reset(seed=5)[0]
    rng, endings = np.random.default_rng(0), 0
    for _ in range(60):
        for key in theirs:
            np.testing.assert_array_equal(mine[key], theirs[key])
        actions = rng.integers(env.single_action_space.n, size=3)
        mine, *rest, _ = env.step(actions)
        theirs, *expected, _ = sync.step(actions)
        for one, other in zip(rest, expected, strict=True):
            np.testing.assert_allclose(one, other)
        endings += rest[1].sum()
    assert endings >= 3


@pytest.mark.parametrize("name", IDS)
def test_the_mdp_is_documented(name: str) -> None:
    documentation = load_env_creator(WORLDS[name]).__doc__ or ""
    found = [line.strip()[3:] for line in documentation.splitlines() if line.strip().startswith("## ")]
    assert ", ".join(found) == HEADINGS
    assert f"`{name}`" in documentation


@pytest.mark.parametrize("name", IDS)
def test_a_spec_is_plain_text(name: str) -> None:
    """So that it can be written to a file and made again."""
    spec = gymnasium.make(name, seed=2).unwrapped.spec
    assert spec is not None
    again = gymnasium.make(EnvSpec.from_json(json.loads(json.dumps(spec.to_json()))))
    for seed in range(3):
        np.testing.assert_equal(again.reset(seed=seed), gymnasium.make(name, seed=2).reset(seed=seed))


def best_completions(world: Any) -> list[str]:
    """An optimal completion a prompt: the documented answer, or the best of all."""
    if hasattr(world, "answer"):
        return [world.answer(prompt) for prompt in world.prompts]
    if isinstance(world, SupportDeskWorld):
        return [support_desk.best_completion(prompt, np.random.default_rng(1)) for prompt in world.prompts]
    found = []
    for prompt in world.prompts:
        tree = exact.completion_tree(world, prompt)
        best = [np.where(end, s, -np.inf).max() for s, end in zip(tree.scores, tree.ends, strict=True)]
        depth = int(np.argmax(best))
        row, token = np.argwhere(tree.ends[depth] & (tree.scores[depth] == best[depth]))[0]
        ids = [*tree.prefixes[depth][row], token]
        found.append(world.tokenizer.decode(ids, skip_special_tokens=True))
    return found


@pytest.mark.parametrize("name", IDS)
def test_optimal_completions_earn_the_best_return(name: str) -> None:
    world = world_of(name, n_prompts=4)
    env, returns = gymnasium.make(name, n_prompts=4), []
    for index, text in enumerate(best_completions(world)):
        env.reset(options={"prompt_index": index})
        reward, terminated = 0.0, False
        for token in [*world.tokenizer.encode(text), world.tokenizer.eos_token_id]:
            if not terminated:
                _, reward, terminated, _, _ = env.step(token)
        assert terminated
        returns.append(reward)
    assert np.mean(returns) == pytest.approx(world.best_return)


@pytest.mark.parametrize("world", [EnumerableWorld(vocab_size=4, horizon=3), HackableWorld(horizon=4)], ids=repr)
def test_random_returns_are_those_of_random_play(world: Any) -> None:
    env = TextGenVectorEnv(
        world.prompts, world.reward, world.tokenizer, max_new_tokens=world.max_new_tokens, num_envs=1000
    )
    env.reset(seed=0)
    rng, scores = np.random.default_rng(0), []
    for _ in range(60):
        _, rewards, terminated, _, _ = env.step(rng.integers(len(world.tokenizer), size=1000))
        scores += rewards[terminated].tolist()
    assert np.mean(scores) == pytest.approx(world.random_return, abs=4 * np.std(scores) / len(scores) ** 0.5)


def test_the_best_of_bad_completions_is_found() -> None:
    """Also where what is unfinished, and so unpaid, would look better."""
    world = EnumerableWorld(vocab_size=3, horizon=2)
    assert (
        exact.best_return(world, reward=lambda prompts, completions: [-1.0 - len(text) for text in completions]) == -1.0
    )


@pytest.mark.parametrize(
    ("name", "attribute", "quoted"),
    [
        ("TextRL/Enumerable-v0", "best_return", "2.835"),
        ("TextRL/Enumerable-v0", "random_return", "0.173"),
        ("TextRL/Copy-v0", "random_return", "0.025"),
        ("TextRL/Reverse-v0", "random_return", "0.025"),
        ("TextRL/Sort-v0", "random_return", "2.1e-07"),
        ("TextRL/Arithmetic-v0", "random_return", "0.0028"),
    ],
)
def test_numbers_in_the_docstrings_are_computed(name: str, attribute: str, quoted: str) -> None:
    documentation = load_env_creator(WORLDS[name]).__doc__ or ""
    assert quoted in documentation
    assert float(quoted) == pytest.approx(getattr(world_of(name), attribute), rel=0.02)


def test_at_the_support_desk_random_words_earn_nothing() -> None:
    world = SupportDeskWorld(n_prompts=100)
    rng, tokenizer = np.random.default_rng(0), world.tokenizer
    texts = []
    for _ in range(10_000):
        ids = rng.integers(len(tokenizer), size=world.max_new_tokens).tolist()
        texts.append(tokenizer.decode(ids[: ids.index(0)] if 0 in ids else ids))
    assert set(world.reward(world.prompts * 100, texts)) == {0.0}
    assert "of 10,000 completions none scores" in (SupportDeskWorld.__doc__ or "")


def test_at_the_support_desk_words_are_tokens_and_texts_come_back() -> None:
    world = SupportDeskWorld(n_prompts=200)
    tokenizer, rng = world.tokenizer, np.random.default_rng(0)
    for prompt in world.prompts:
        best = support_desk.best_completion(prompt, rng)
        assert tokenizer.decode(tokenizer.encode(best)) == best
        assert support_desk.parse_prompt(tokenizer.decode(tokenizer.encode(prompt))) == support_desk.parse_prompt(
            prompt
        )
    assert tokenizer.decode([1, 0]).endswith("<end>") and len(tokenizer) == len(support_desk.vocabulary()) + 1
    with pytest.raises(InputError, match="has no 'piano'"):
        tokenizer.encode("my piano")


def test_options_reach_the_world_and_the_environment(make_model: Any) -> None:
    reference = FrozenReference(make_model("gpt2"), vocab_size=4)
    options: dict[str, Any] = {"kl": KLShaping(0.1), "reference": reference, "stop_strings": ["ab"]}
    options |= {"alphabet_size": 3, "length": 3, "max_new_tokens": 2, "include_text": True}
    env = gymnasium.make("TextRL/Copy-v0", **options)
    assert env.observation_space["input_ids"].shape == (5,)  # type: ignore[index]
    _, info = env.reset(seed=0)
    assert len(info["prompt"]) == 3
    env.step(1)
    *_, info = env.step(2)
    assert info["finish_reason"] == "stop" and set(info["reward_terms"]) == {"score", "reference"}
    envs = gymnasium.make_vec("TextRL/Copy-v0", num_envs=2, autoreset_mode="Disabled", **options)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert envs.single_observation_space == env.observation_space


def test_prompts_reward_and_tokenizer_can_be_replaced() -> None:
    characters = CharacterTokenizer("abcdefgh=")
    env = gymnasium.make("TextRL/Copy-v0", tokenizer=characters, prompts=["ab="], reward=lambda completions: [2.0])
    env.reset(seed=0)
    assert env.action_space == gymnasium.spaces.Discrete(10)
    assert env.step(0)[1] == 2.0


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(TypeError, match="'lenght'"):
        gymnasium.make("TextRL/Copy-v0", lenght=3)
    with pytest.raises(InputError, match="length must be at least 1, got 0"):
        gymnasium.make("TextRL/Copy-v0", length=0)
    env = gymnasium.make("TextRL/Copy-v0").unwrapped
    with pytest.raises(InputError, match="'z' of 'az' is none of the tokens 'abcdefgh'"):
        env.reset(options={"prompt": "az"})
    with pytest.raises(InputError, match="names each character once"):
        CharacterTokenizer("abca")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 1}, "vocab_size must be at least 2"),
        ({"vocab_size": 30}, "vocab_size must be at most 27"),
        ({"vocab_size": 3, "n_prompts": 5}, "n_prompts=5, but 2 letters make only 4 prompts"),
    ],
)
def test_impossible_parameters_of_the_enumerable_world_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EnumerableWorld(**options)


def test_every_id_is_made_without_torch(tmp_path: Path) -> None:
    code = f"""
import sys, gymnasium, textrl_env
for name in {IDS}:
    envs = gymnasium.make_vec(name, num_envs=2)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    gymnasium.make(name).reset(seed=0)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
