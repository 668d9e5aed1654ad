"""Gymnasium's points about vector environments, on the native one: seeds, slots, masks, wrappers, rendering, closes."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.error import ClosedEnvironmentError
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.worlds import LetterTokenizer

N = 3
COPY = "TextRL/Copy-v0"


def make(**options: Any) -> TextGenVectorEnv:
    env = gymnasium.make_vec(COPY, num_envs=N, **options)
    assert isinstance(env, TextGenVectorEnv)
    return env


def test_resets_happen_in_the_next_step_unless_asked_otherwise() -> None:
    env = make()
    assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert make(autoreset_mode="SameStep").metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert TextGenVectorEnv.metadata == {"render_modes": ["ansi", "html"]}
    with pytest.raises(InputError, match="'NextStep', 'SameStep', 'Disabled', got 'NEXT'"):
        make(autoreset_mode="NEXT")


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "two", None])
def test_the_number_of_slots_is_checked(n: Any) -> None:
    with pytest.raises(InputError, match="num_envs"):
        TextGenVectorEnv(["a"], lambda prompts: [0.0] * len(prompts), LetterTokenizer(4), num_envs=n)


def test_every_slot_has_its_seed_until_another_comes() -> None:
    env = make()
    assert len(set(env.np_random_seed)) == N
    assert env.np_random_seed == env.get_attr("np_random_seed") == env.np_random_seed
    for seed, expected in ((42, (42, 43, 44)), (None, (42, 43, 44)), ([7, None, 9], (7, 43, 9))):
        env.reset(seed=seed)
        assert env.np_random_seed == expected
    env.reset(seed=np.array([1, 2, 3]), options={"reset_mask": np.array([False, True, False])})
    assert env.np_random_seed == (7, 2, 9)
    env.reset(seed=np.int64(5))  # type: ignore[arg-type]
    assert env.np_random_seed == (5, 6, 7)
    single = gymnasium.make(COPY).unwrapped
    single.reset(seed=6)
    assert env.np_random[1].random() == single.np_random.random()
    env.restore(env.state())
    assert env.np_random_seed == (-1, -1, -1)


def test_slots_answer_as_single_environments_would() -> None:
    env, single = make(min_new_tokens=1, render_mode="ansi"), gymnasium.make(COPY, min_new_tokens=1).unwrapped
    assert isinstance(single, TextGenEnv)
    env.reset(seed=3)
    single.reset(seed=3)
    masks = env.call("action_masks")
    assert isinstance(masks, tuple) and np.array_equal(masks[0], single.action_masks())
    assert env.get_attr("observation_space") == (single.observation_space,) * N
    assert env.get_attr("action_space") == (single.action_space,) * N
    assert env.get_attr("kl_coef") == (0.0,) * N
    assert env.get_attr("task") == (env.task,) * N
    assert env.call("render") == env.render()
    env.set_attr("label", ["a", "b", "c"])
    assert env.get_attr("label") == ("a", "b", "c")
    env.set_attr("label", 1)
    assert env.get_attr("label") == (1, 1, 1)
    env.set_attr("np_random", [np.random.default_rng(0) for _ in range(N)])
    assert env.np_random_seed == (-1, -1, -1)
    assert len(set(env.reset()[1]["prompt_index"])) == 1
    for name in ("missing", "step", "reset"):
        with pytest.raises(AttributeError, match=name):
            env.get_attr(name)
    with pytest.raises(InputError, match="label must be one value or 3 of them, one a slot, got 2"):
        env.set_attr("label", [1, 2])
    with pytest.raises(AttributeError):
        env.set_attr("task", None)


def test_the_coefficient_is_one_for_all_slots(make_model: Any) -> None:
    from textrl_env.reference import FrozenReference

    env = TextGenVectorEnv(
        ["a"],
        lambda prompts: [0.0] * len(prompts),
        LetterTokenizer(8),
        num_envs=N,
        kl=KLShaping(0.1),
        reference=FrozenReference(make_model("gpt2"), vocab_size=8),
    )
    env.set_attr("kl_coef", 0.5)
    assert env.kl_coef == 0.5 and env.get_attr("kl_coef") == (0.5,) * N
    env.set_attr("kl_coef", [0.25] * N)
    assert env.kl_coef == 0.25
    with pytest.raises(InputError, match="all slots have the same kl_coef"):
        env.set_attr("kl_coef", [0.1, 0.2, 0.3])
    assert env.kl_coef == 0.25


@pytest.mark.parametrize(
    ("mask", "kind", "message"),
    [
        (np.array([True]), ValueError, "`options['reset_mask']` must have shape `(3,)`, got (1,)"),
        (np.ones((1, 3), dtype=bool), ValueError, "`options['reset_mask']` must have shape `(3,)`, got (1, 3)"),
        (np.zeros(3, dtype=bool), ValueError, "at least one True value, got reset_mask=[False False False]"),
        (np.array([1, 1, 0]), TypeError, "`options['reset_mask']` must have `dtype=np.bool_`, got int64"),
        (np.array([1.0, 1.0, 0.0]), TypeError, "`options['reset_mask']` must have `dtype=np.bool_`, got float64"),
        ([True, True, False], TypeError, "`options['reset_mask']` must be a numpy array, got <class 'list'>"),
    ],
)
def test_a_reset_mask_is_refused_as_gymnasium_refuses_it(mask: Any, kind: type[Exception], message: str) -> None:
    env = make(autoreset_mode="Disabled")
    env.reset(seed=0)
    for expected in (kind, InputError):
        with pytest.raises(expected, match=re.escape(message)):
            env.reset(options={"reset_mask": mask})
    options = {"reset_mask": np.array([True, True, False])}
    env.reset(options=options)
    assert list(options) == ["reset_mask"], "the caller's dict stays as it was"


@pytest.mark.parametrize("actions", [0, np.int64(0), np.array(0), None, 1.5, "aa", {"token": [0, 0, 0]}], ids=repr)
def test_what_is_no_array_of_actions_is_a_type_error(actions: Any) -> None:
    env = make()
    env.reset(seed=0)
    for kind in (TypeError, InputError):
        with pytest.raises(kind):
            env.step(actions)


@pytest.mark.parametrize("count", [0, N - 1, N + 1])
def test_a_wrong_number_of_actions_is_a_value_error(count: int) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="integer token ids"):
        env.step(np.zeros(count, dtype=np.int64))


def test_types_of_what_step_returns() -> None:
    env = make()
    for outcome in (env.reset(seed=0), env.step([1, 2, 3])):
        for key, values in outcome[0].items():
            assert values.dtype == env.observation_space[key].dtype  # type: ignore[index]
            assert values.shape == env.observation_space[key].shape  # type: ignore[index]
        assert outcome[0] in env.observation_space
    _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    assert rewards.shape == terminated.shape == truncated.shape == (N,)


WRAPPERS = {
    "FilterObservation": {"filter_keys": ["input_ids"]},
    "FlattenObservation": {},
    "ClipReward": {"min_reward": -0.25, "max_reward": 0.5},
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_vector_wrappers_do_what_wrappers_of_single_environments_do(name: str) -> None:
    """In the default mode: Gymnasium's observation wrappers refuse resets in the same step."""
    mine = getattr(wrappers.vector, name)(make(), **WRAPPERS[name])
    theirs = gymnasium.make_vec(
        COPY,
        num_envs=N,
        vectorization_mode="sync",
        wrappers=(lambda env: getattr(wrappers, name)(env, **WRAPPERS[name]),),
    )
    assert mine.observation_space == theirs.observation_space
    assert mine.single_observation_space == theirs.single_observation_space
    mine.action_space.seed(1)
    for one, other in zip(mine.reset(seed=4), theirs.reset(seed=4), strict=True):
        assert data_equivalence(one, other)
    for _ in range(40):
        action = mine.action_space.sample()
        for one, other in zip(mine.step(action), theirs.step(action), strict=True):
            assert data_equivalence(one, other)


class Lengths(gymnasium.vector.VectorObservationWrapper):
    """An observation wrapper of a user's own: how many tokens each text has."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.single_observation_space = spaces.Box(0, 100, (), np.int64)
        self.observation_space = spaces.Box(0, 100, (N,), np.int64)

    def observations(self, observations: Any) -> Any:
        return observations["attention_mask"].sum(axis=1, dtype=np.int64)


def test_a_users_observation_wrapper_fits_the_default() -> None:
    env = Lengths(make())
    first, _ = env.reset(seed=0)
    assert (env.step([1, 1, 1])[0] == first + 1).all()
    assert env.unwrapped.call("action_masks") and env.np_random_seed == (0, 1, 2)
    infos = wrappers.vector.DictInfoToList(make()).reset(seed=0)[1]
    assert [set(info) for info in infos] == [set(gymnasium.make(COPY).reset(seed=0)[1])] * N


@pytest.mark.parametrize("render_mode", ["ansi", "html"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_slots_are_rendered_as_single_environments_are(render_mode: str, mode: AutoresetMode) -> None:
    env = make(render_mode=render_mode, autoreset_mode=mode)
    singles = [gymnasium.make(COPY, render_mode=render_mode) for _ in range(N)]
    assert env.render_mode == render_mode
    env.reset(seed=0)
    for slot, single in enumerate(singles):
        single.reset(seed=slot)
    resets_now = np.zeros(N, dtype=bool)
    rng = np.random.default_rng(0)
    for _ in range(12):
        tokens = rng.integers(env.single_action_space.n, size=N)
        _, _, terminated, *_ = env.step(tokens)
        for slot, single in enumerate(singles):
            if resets_now[slot] or (single.step(tokens[slot])[2] and mode is AutoresetMode.SAME_STEP):
                single.reset()
        assert env.render() == tuple(single.render() for single in singles)
        resets_now = terminated if mode is AutoresetMode.NEXT_STEP else np.zeros(N, dtype=bool)
        if mode is AutoresetMode.DISABLED and terminated.any():
            env.reset(options={"reset_mask": terminated})
            for slot in np.flatnonzero(terminated):
                singles[slot].reset()
    assert make().render() == (None,) * N
    for wrong in ("human", "rgb_array"):
        with pytest.raises(InputError, match=r"render_mode must be one of \['ansi', 'html'\]"):
            make(render_mode=wrong)


@pytest.mark.parametrize("make_one", [make, lambda: gymnasium.make(COPY).unwrapped], ids=["vector", "single"])
def test_what_is_closed_is_closed(make_one: Any) -> None:
    with make_one() as env:
        env.reset(seed=0)
    env.close()
    for call in (env.reset, lambda: env.step(env.action_space.sample())):
        for kind in (ClosedEnvironmentError, InputError):
            with pytest.raises(kind, match="closed; make a new one"):
                call()


def test_an_array_given_out_is_not_the_environments_own() -> None:
    env = make(autoreset_mode="Disabled")
    observation, info = env.reset(seed=0)
    env.live[:] = False
    env.action_masks()[:] = False
    observation["input_ids"][:], info["prompt_index"][:] = 0, 9
    assert env.live.all() and env.action_masks().all()
    _, rewards, terminated, *_, info = env.step([1, 2, 3])
    rewards[:], terminated[:], info["n_completion_tokens"][:] = 9, True, 9
    assert env.live.all() and env.step([1, 2, 3])[4]["n_completion_tokens"].tolist() == [2] * N
