"""The vector environment equals single environments side by side, in every autoreset mode and KL mode."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

N, V, C = 4, 8, 5
KL = ["none", "reference", "sampled", "exact", "reference by episode", "sampled by episode"]


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [len(prompt) + text.count("a") / 4 for prompt, text in zip(prompts, completions, strict=True)]


@pytest.fixture
def arguments(request: pytest.FixtureRequest, make_model: Any) -> dict[str, Any]:
    """Environment arguments for the KL mode named by the indirect parameter (none without one)."""
    common = {"prompts": ["abc", "de", "f", "gabc"], "reward": count_a, "tokenizer": LetterTokenizer(V)}
    options: dict[str, Any] = {"max_new_tokens": C, "include_text": True, "stop_strings": ["bc"], "min_new_tokens": 1}
    mode, _, pay = getattr(request, "param", "none").partition(" by ")
    if mode != "none":
        options |= {"kl": KLShaping(0.2, mode, estimator="k3", pay=pay or "step")}
        options |= {"reference": FrozenReference(make_model("gpt2"), vocab_size=V)}
    return common | options


def act(env: Any, masks: np.ndarray, rng: np.random.Generator) -> Any:
    """Random allowed tokens, the end token often; with log-probabilities where the action space has them."""
    weights = np.where(masks, np.array([3.0] + [1.0] * (V - 1)), 0.0)
    tokens = np.array([rng.choice(V, p=row / row.sum()) for row in weights])
    if not isinstance(env.single_action_space, gymnasium.spaces.Dict):
        return tokens
    logprobs = np.log(rng.dirichlet(np.ones(V), size=len(tokens))).astype(np.float32)
    if "logprobs" in env.single_action_space.spaces:
        return {"token": tokens, "logprobs": logprobs}
    return {"token": tokens, "logprob": logprobs[:, 0]}


def assert_same(mine: Any, theirs: Any, where: str = "") -> None:
    if isinstance(theirs, dict):
        assert set(mine) == set(theirs), where
        for key in theirs:
            assert_same(mine[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, tuple | np.ndarray) and any(isinstance(entry, dict) for entry in theirs):
        for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    elif isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5, err_msg=where)
    else:
        np.testing.assert_array_equal(mine, theirs, err_msg=where)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("arguments", KL, indirect=True)
def test_equals_gymnasiums_sync_vector_env(arguments: dict[str, Any], mode: AutoresetMode) -> None:
    env = TextGenVectorEnv(**arguments, num_envs=N, autoreset_mode=mode)
    sync = SyncVectorEnv([lambda: TextGenEnv(**arguments)] * N, autoreset_mode=mode)
    assert env.metadata["autoreset_mode"] is mode
    assert env.observation_space == sync.observation_space
    assert env.action_space == sync.action_space
    rng = np.random.default_rng(0)
    assert_same(env.reset(seed=7), sync.reset(seed=7))
    endings = 0
    for _ in range(40):
        masks = env.action_masks()
        np.testing.assert_array_equal(masks, np.stack([single.unwrapped.action_masks() for single in sync.envs]))
        action = act(env, masks, rng)
        mine, theirs = env.step(action), sync.step(copy.deepcopy(action))
        assert_same(mine, theirs)
        ended = mine[2] | mine[3]
        endings += ended.sum()
        if mode is AutoresetMode.DISABLED and ended.any():
            assert_same(env.reset(options={"reset_mask": ended}), sync.reset(options={"reset_mask": ended.copy()}))
    assert endings > 20


@pytest.mark.parametrize("arguments", KL, indirect=True)
def test_equals_single_environments_with_the_same_seeds(arguments: dict[str, Any]) -> None:
    env = TextGenVectorEnv(**arguments, num_envs=N, autoreset_mode="SameStep")
    singles = [TextGenEnv(**arguments) for _ in range(N)]
    rng = np.random.default_rng(1)
    observation, _ = env.reset(seed=3)
    expected = [single.reset(seed=3 + slot)[0] for slot, single in enumerate(singles)]
    assert_same(
        {key: observation[key] for key in observation}, {k: np.stack([e[k] for e in expected]) for k in expected[0]}
    )
    for _ in range(30):
        action = act(env, env.action_masks(), rng)
        observation, reward, terminated, _, info = env.step(action)
        for slot, single in enumerate(singles):
            mine = {key: values[slot] for key, values in action.items()} if isinstance(action, dict) else action[slot]
            now, paid, over, _, single_info = single.step(mine)
            assert reward[slot] == pytest.approx(paid, rel=1e-5, abs=1e-5)
            assert terminated[slot] == over
            if over:
                assert_same(info["final_obs"][slot], now)
                assert info["final_info"]["completion"][slot] == single_info["completion"]
                assert info["final_info"]["score"][slot] == pytest.approx(single_info["score"])
                now, single_info = single.reset()
            assert_same({key: observation[key][slot] for key in now}, now)
            assert info["prompt"][slot] == single_info["prompt"]


@pytest.mark.parametrize("kl_mode", ["reference", "sampled"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("length_limit", ["scored", "cut"])
def test_paying_by_episode_moves_the_same_rewards_to_the_end(
    arguments: dict[str, Any], make_model: Any, kl_mode: Any, estimator: Any, length_limit: str
) -> None:
    reference = FrozenReference(make_model("llama"), vocab_size=V)
    by_step, by_episode = (
        TextGenVectorEnv(
            **arguments,
            kl=KLShaping(0.3, kl_mode, estimator=estimator, pay=pay),
            reference=reference,
            num_envs=N,
            autoreset_mode="SameStep",
            length_limit=length_limit,
        )
        for pay in ("step", "episode")
    )
    rng = np.random.default_rng(2)
    by_step.reset(seed=0)
    by_episode.reset(seed=0)
    so_far: list[list[float]] = [[] for _ in range(N)]
    endings = 0
    for _ in range(30):
        action = act(by_step, by_step.action_masks(), rng)
        _, rewards, terminated, truncated, info = by_step.step(action)
        _, late, terminated_late, truncated_late, late_info = by_episode.step(action)
        np.testing.assert_array_equal(terminated, terminated_late)
        np.testing.assert_array_equal(truncated, truncated_late)
        for slot in range(N):
            so_far[slot].append(float(rewards[slot]))
            if not (terminated[slot] or truncated[slot]):
                assert late[slot] == 0
                continue
            endings += 1
            parts = late_info["final_info"]["token_rewards"][slot]
            assert late[slot] == pytest.approx(sum(so_far[slot]), rel=1e-5, abs=1e-5)
            np.testing.assert_allclose(parts[: len(so_far[slot])], so_far[slot], rtol=1e-5, atol=1e-5)
            assert not parts[len(so_far[slot]) :].any()
            if kl_mode == "sampled":
                assert late_info["final_info"]["kl"][slot] == pytest.approx(info["final_info"]["kl"][slot], abs=1e-5)
            so_far[slot] = []
    assert endings > 10


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("arguments", ["reference"], indirect=True)
def test_record_episode_statistics_counts_right(arguments: dict[str, Any], mode: AutoresetMode) -> None:
    """Against a count of the steps of single environments, which know nothing of autoreset."""
    env = RecordEpisodeStatistics(TextGenVectorEnv(**arguments, num_envs=N, autoreset_mode=mode), buffer_length=1000)
    singles = [TextGenEnv(**arguments) for _ in range(N)]
    rng = np.random.default_rng(3)
    env.reset(seed=5)
    for slot, single in enumerate(singles):
        single.reset(seed=5 + slot)
    rewards: list[list[float]] = [[] for _ in range(N)]
    resets_now, expected = np.zeros(N, dtype=bool), []
    for _ in range(40):
        tokens = act(env, env.unwrapped.action_masks(), rng)
        _, _, terminated, truncated, info = env.step(tokens)
        ended = terminated | truncated
        np.testing.assert_array_equal(info.get("_episode", np.zeros(N, dtype=bool)), ended)
        for slot, single in enumerate(singles):
            if resets_now[slot]:
                assert not ended[slot]
                continue
            _, reward, over, _, _ = single.step(tokens[slot])
            rewards[slot].append(reward)
            assert over == ended[slot]
            if over:
                count = (sum(rewards[slot]), len(rewards[slot]))
                assert info["episode"]["r"][slot] == pytest.approx(count[0], abs=1e-5)
                assert info["episode"]["l"][slot] == count[1]
                expected.append(count)
                rewards[slot] = []
                single.reset()
        resets_now = ended if mode is AutoresetMode.NEXT_STEP else np.zeros(N, dtype=bool)
        if mode is AutoresetMode.DISABLED and ended.any():
            env.reset(options={"reset_mask": ended})
    assert env.episode_count == len(expected) > 30
    np.testing.assert_allclose(env.return_queue, [total for total, _ in expected], atol=1e-5)
    assert list(env.length_queue) == [length for _, length in expected]


def test_make_vec_makes_the_native_environment(arguments: dict[str, Any]) -> None:
    env = gymnasium.make_vec("TextRL/TextGen-v0", num_envs=3, autoreset_mode="NextStep", **arguments)
    assert isinstance(env, TextGenVectorEnv)
    assert (env.num_envs, env.autoreset_mode) == (3, AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("arguments", ["reference"], indirect=True)
def test_make_and_every_make_vec_play_alike(arguments: dict[str, Any], mode: AutoresetMode) -> None:
    """Native, in one process, and in worker processes: the same tokens, rewards and infos from the same seeds."""
    native = gymnasium.make_vec("TextRL/TextGen-v0", num_envs=3, autoreset_mode=mode, **arguments)
    others = [
        gymnasium.make_vec(
            "TextRL/TextGen-v0", num_envs=3, vectorization_mode=way, vector_kwargs={"autoreset_mode": mode}, **arguments
        )
        for way in ("sync", "async")
    ]
    assert isinstance(others[1], AsyncVectorEnv)
    single = gymnasium.make("TextRL/TextGen-v0", **arguments)
    first = native.reset(seed=1)
    for other in others:
        assert_same(other.reset(seed=1), first)
    single.reset(seed=1)
    rng, running, endings = np.random.default_rng(4), True, 0
    for _ in range(25):
        tokens = act(native, native.unwrapped.action_masks(), rng)
        mine = native.step(tokens)
        for other in others:
            assert_same(other.step(tokens.copy()), mine)
        endings += mine[2].sum()
        if running:
            _, reward, terminated, *_ = single.step(tokens[0])
            assert (mine[1][0], mine[2][0]) == (pytest.approx(reward, abs=1e-5), terminated)
            running = not terminated
        else:
            running = True
        if not running:
            single.reset()
            running = mode is not AutoresetMode.NEXT_STEP
        if mode is AutoresetMode.DISABLED and mine[2].any():
            again = native.reset(options={"reset_mask": mine[2]})
            for other in others:
                assert_same(other.reset(options={"reset_mask": mine[2].copy()}), again)
    for other in others:
        other.close()
    assert endings > 10


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("arguments", ["reference", "sampled by episode"], indirect=True)
def test_a_copy_made_mid_episode_continues_alike(arguments: dict[str, Any], copied: Any) -> None:
    env, rng = TextGenVectorEnv(**arguments, num_envs=N), np.random.default_rng(6)
    env.reset(seed=0)
    for _ in range(4):
        info = env.step(act(env, env.action_masks(), rng))[4]
    assert info["n_completion_tokens"].any()
    twin = copied(env)
    for _ in range(20):
        action = act(env, env.action_masks(), rng)
        assert_same(env.step(action), twin.step(copy.deepcopy(action)))


def test_disabled_slots_idle_until_they_are_reset(arguments: dict[str, Any]) -> None:
    env = TextGenVectorEnv(**arguments, num_envs=3, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(np.array([1, 1, 1]))
    observation, rewards, terminated, *_ = env.step(np.array([0, 1, 1]))
    kept = observation["input_ids"][0].copy()
    assert rewards[0] > 0
    assert env.live.tolist() == [False, True, True]
    for token in (4, 99, -1):
        observation, rewards, terminated, _, info = env.step(np.array([token, 1, 1]))
        assert terminated[0]
        assert rewards[0] == 0
        assert info["finish_reason"][0] == "eos"
        np.testing.assert_array_equal(observation["input_ids"][0], kept)
    running = observation["input_ids"][1].copy()
    observation, info = env.reset(options={"reset_mask": np.array([True, False, False]), "prompt_index": 1})
    assert observation["input_ids"][0].tolist() == [0] * 7 + [4, 5]
    assert info["_prompt_index"].tolist() == [True, False, False]
    np.testing.assert_array_equal(observation["input_ids"][1], running)


def test_one_reward_call_scores_all_episodes_that_end_together(arguments: dict[str, Any]) -> None:
    calls: list[int] = []

    def counted(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        calls.append(len(completions))
        return count_a(prompts, completions)

    env = TextGenVectorEnv(**arguments | {"reward": counted}, num_envs=N)
    env.reset(seed=0)
    env.step(np.ones(N, dtype=np.int64))
    env.step(np.array([0, 1, 0, 0]))
    assert calls == [3]


def test_an_error_leaves_every_slot_as_it_was(arguments: dict[str, Any]) -> None:
    env = TextGenVectorEnv(**arguments, num_envs=N)
    with pytest.raises(InputError, match="reset"):
        env.step(np.zeros(N, dtype=np.int64))
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    for action in (
        np.array([1, 2, 3, 8]),
        np.array([1, 2, 3]),
        np.array([1.0] * N),
        1,
        None,
        np.zeros(N, dtype=np.int64),
    ):
        with pytest.raises(InputError):
            env.step(action)
    assert_same(env.step(np.arange(1, 5))[0], twin.step(np.arange(1, 5))[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.reset(seed=[1, 2]), "seed .* got 2"),
        (lambda env: env.reset(options={"reset_mask": np.zeros(N, dtype=bool)}), "reset_mask"),
        (lambda env: env.reset(options={"reset_mask": [True] * N}), "reset_mask"),
        (lambda env: env.reset(options={"reset_mask": np.ones(N + 1, dtype=bool)}), "reset_mask"),
        (lambda env: env.reset(options={"prompt_index": [0, 1]}), "'prompt_index' must be one value or 4 .* got 2"),
        (lambda env: env.reset(options={"prompt": []}), "'prompt' must be one value or 4 .* got 0"),
        (lambda env: env.reset(options={"prompt_index": np.array(4)}), "prompt_index"),
        (lambda env: TextGenVectorEnv(["a"], count_a, LetterTokenizer(V), num_envs=0), "num_envs .* got 0"),
    ],
)
def test_impossible_calls_are_named(arguments: dict[str, Any], call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(TextGenVectorEnv(**arguments, num_envs=N))


def test_reset_options_may_differ_by_slot(arguments: dict[str, Any]) -> None:
    env = TextGenVectorEnv(**arguments, num_envs=N)
    assert env.reset(options={"prompt_index": [3, 2, 1, 0]})[1]["prompt"].tolist() == ["gabc", "f", "de", "abc"]
    assert env.reset(options={"prompt": ["a", "b", "c", "dd"]})[1]["prompt"].tolist() == ["a", "b", "c", "dd"]
    assert env.reset(options={"prompt": "gg"})[1]["prompt"].tolist() == ["gg"] * N
