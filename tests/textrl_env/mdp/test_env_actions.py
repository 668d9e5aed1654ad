"""Actions that may not be taken: named errors that change nothing, masks, and impossible options."""

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from textrl_env import InputError, KLShaping, TextGenEnv
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer


def length(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(len(text)) for text in completions]


def make(**options: Any) -> TextGenEnv:
    return TextGenEnv(["abc", "de"], length, LetterTokenizer(8), **{"max_new_tokens": 5, **options})


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, dict):
        return set(mine) == set(theirs) and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, np.ndarray):
        return mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
    if isinstance(mine, float):
        return abs(mine - theirs) < 1e-5
    return all(map(same, mine, theirs)) if isinstance(mine, tuple) else mine == theirs


def refuses(env: TextGenEnv, action: Any, rest: Sequence[Any]) -> str:
    """The error's message, once the environment has been seen to go on as if nothing had happened."""
    untouched = copy.deepcopy(env)
    with pytest.raises(InputError) as caught:
        env.step(action)
    assert all(same(env.step(token), untouched.step(token)) for token in rest)
    return str(caught.value)


BAD_TOKENS = [
    -1,
    8,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    1.5,
    1.0,
    float("nan"),
    float("inf"),
    None,
    "text",
    b"1",
    True,
    np.array([1]),
    np.array([[1]]),
    np.array([1, 2]),
    np.array(1.0),
    np.array([]),
    [],
    [1],
    {"token": 1},
    object(),
    np.datetime64("2020"),
    1j,
]


@pytest.mark.parametrize("action", BAD_TOKENS, ids=lambda action: f"{action!r:.20}".partition(" at")[0])
def test_a_bad_token_is_an_error_that_changes_nothing(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    env.step(3)
    assert "token" in refuses(env, action, rest=[1, 2, 0])


@pytest.mark.parametrize("action", [3, np.int64(3), np.int8(3), np.uint8(3), np.array(3)], ids=repr)
def test_every_kind_of_integer_is_a_token(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    assert env.step(action)[0]["input_ids"][-1] == 3


@pytest.mark.parametrize(
    ("mode", "action"),
    [
        ("sampled", 1),
        ("sampled", {"token": 1}),
        ("sampled", {"logprob": -1.0}),
        ("sampled", {"token": 1, "logprob": -1.0, "more": 2}),
        ("sampled", {"token": 8, "logprob": -1.0}),
        ("sampled", {"token": True, "logprob": -1.0}),
        ("sampled", {"token": 1, "logprob": 0.5}),
        ("sampled", {"token": 1, "logprob": float("nan")}),
        ("sampled", {"token": 1, "logprob": -float("inf")}),
        ("sampled", {"token": 1, "logprob": None}),
        ("sampled", {"token": 1, "logprob": "text"}),
        ("sampled", {"token": 1, "logprob": object()}),
        ("sampled", {"token": 1, "logprob": np.zeros(2)}),
        ("exact", 1),
        ("exact", {"token": 1, "logprob": -1.0}),
        ("exact", {"token": 1, "logprobs": -1.0}),
        ("exact", {"token": 1, "logprobs": np.full(7, -2.0)}),
        ("exact", {"token": 1, "logprobs": np.full(8, np.nan)}),
        ("exact", {"token": 1, "logprobs": np.full(8, 1.0)}),
        ("exact", {"token": 1, "logprobs": ["text"] * 8}),
    ],
)
def test_a_bad_action_with_log_probabilities_is_an_error_that_changes_nothing(
    mode: Any, action: Any, make_model: Any
) -> None:
    env = make(kl=KLShaping(0.1, mode), reference=FrozenReference(make_model("gpt2"), vocab_size=8))
    good = {"logprob": -1.0} if mode == "sampled" else {"logprobs": np.full(8, -np.log(8))}
    env.reset(seed=0)
    env.step({"token": 3, **good})
    refuses(env, action, rest=[{"token": 1, **good}, {"token": 0, **good}])


@pytest.mark.parametrize("through_reset", [False, True])
def test_step_needs_a_running_episode(through_reset: bool) -> None:
    env = make()
    if through_reset:
        env.reset(seed=0)
        env.step(1)
        env.step(0)
    with pytest.raises(InputError, match="reset"):
        env.step(1)
    env.reset(seed=0)
    assert env.step(1)[4]["n_completion_tokens"] == 1


def test_min_new_tokens_and_banned_tokens_are_masked_and_refused() -> None:
    env = make(min_new_tokens=2, banned_tokens=[3, 5])
    env.reset(seed=0)
    assert env.action_masks().dtype == np.bool_
    for expected_end in (False, False, True, True):
        masks = env.action_masks()
        assert masks.tolist() == [expected_end, True, True, False, True, False, True, True]
        for token in np.flatnonzero(~masks):
            assert f"token {token} may not be chosen" in refuses(copy.deepcopy(env), int(token), rest=[1])
        env.step(1)
    assert env.step(0)[4]["finish_reason"] == "eos"


@pytest.mark.parametrize("mode", [None, "reference", "sampled", "exact"])
def test_a_subset_of_actions_is_the_same_environment_under_other_numbers(mode: Any, make_model: Any) -> None:
    subset = [5, 0, 2, 7]
    shaping = {}
    if mode is not None:
        shaping = {"kl": KLShaping(0.1, mode), "reference": FrozenReference(make_model("gpt2"), vocab_size=8)}
    # What is no action there is forbidden here, so that the reference is taken among the same tokens.
    whole = make(min_new_tokens=2, banned_tokens=[7, 3, 1, 4, 6], **shaping)
    part = make(min_new_tokens=2, banned_tokens=[7, 3], action_tokens=subset, **shaping)
    whole.reset(seed=0)
    part.reset(seed=0)
    uniform = np.full(4, -np.log(4), dtype=np.float32)
    spread = np.full(8, -np.inf, dtype=np.float32)
    spread[subset] = uniform

    def act(token: int, logprobs: Any) -> Any:
        extra = {"sampled": {"logprob": -1.0}, "exact": {"logprobs": logprobs}}.get(mode)
        return token if extra is None else {"token": token, **extra}

    for action in (2, 0, 2, 1):
        assert part.action_masks().tolist() == whole.action_masks()[subset].tolist()
        assert same(part.step(act(action, uniform)), whole.step(act(subset[action], spread)))


def test_a_subset_has_a_smaller_action_space_and_refuses_what_is_beyond_it() -> None:
    env = make(action_tokens=[5, 0, 2])
    assert env.action_space == gymnasium.spaces.Discrete(3)
    env.reset(seed=0)
    assert "token" in refuses(env, 3, rest=[0, 2, 1])


def test_any_of_several_end_tokens_ends_and_is_left_out_of_the_text() -> None:
    seen: list[str] = []

    def reward(prompts: list[str], completions: list[str]) -> list[float]:
        seen.extend(completions)
        return [0.0] * len(completions)

    for end in (4, 6):
        env = TextGenEnv(["abc"], reward, LetterTokenizer(8), max_new_tokens=5, eos_token_ids=[4, 6], min_new_tokens=1)
        env.reset(seed=0)
        assert env.action_masks().tolist() == [True, True, True, True, False, True, False, True]
        env.step(3)
        # The tokenizer's own end token is one of many now.
        assert env.step(0)[4]["finish_reason"] == ""
        assert env.step(end)[4]["finish_reason"] == "eos"
    assert seen[0] == seen[1] == LetterTokenizer(8).decode([3, 0], skip_special_tokens=True)


def test_a_mask_given_out_is_not_the_environments_own() -> None:
    env = make(banned_tokens=[3])
    env.reset(seed=0)
    env.action_masks()[:] = False
    assert env.action_masks().sum() == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"min_new_tokens": 6}, "min_new_tokens .* got 6"),
        ({"min_new_tokens": -1}, "min_new_tokens"),
        ({"min_new_tokens": 1.5}, "min_new_tokens must be a whole number, got 1.5"),
        ({"min_new_tokens": "1"}, "min_new_tokens must be a number, got '1'"),
        ({"length_limit": "both"}, "length_limit .* 'both'"),
        ({"banned_tokens": [8]}, "banned_tokens holds 8"),
        ({"banned_tokens": [-1]}, "banned_tokens holds -1"),
        ({"action_tokens": [1, 8]}, "action_tokens holds 8"),
        ({"action_tokens": [1, 1]}, "action_tokens holds a token twice"),
        ({"action_tokens": []}, "no token to choose"),
        ({"action_tokens": [0], "min_new_tokens": 1}, "no token to choose"),
        ({"eos_token_ids": [-1]}, "eos_token_ids holds -1"),
        ({"banned_tokens": range(8)}, "no token to choose"),
        ({"banned_tokens": range(1, 8), "min_new_tokens": 1}, "no token to choose"),
        ({"kl": KLShaping()}, "reference="),
        ({"kl": 0.1}, r"kl must be KLShaping.*got 0.1; a coefficient is KLShaping\(coef="),
        ({"reference": "gpt2"}, r"reference must have .*got 'gpt2'; of a model it is FrozenReference"),
        ({"reference": torch.nn.Linear(1, 1)}, "reference must have .*got a Linear"),
        ({"reference": FrozenReference}, "reference must have .*got <class"),
        ({"max_prompt_tokens": 2}, "prompt 0: the prompt has 3 tokens, at most 2 fit"),
        ({"stop_strings": [""]}, "stop_strings"),
        ({"stop_strings": "cd"}, "stop_strings"),
        ({"stop_strings": None}, "stop_strings"),
        ({"stop_strings": ["c", b"d"]}, "stop_strings"),
        ({"stop_strings": [3]}, "stop_strings"),
        ({"render_mode": "rgb"}, "render_mode"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**options)


@pytest.mark.parametrize("option", ["eos_token_ids", "banned_tokens", "action_tokens"])
@pytest.mark.parametrize("entry", [1.5, 1.0, "1", None, True, np.True_, torch.tensor(True), 10**30, [1]])
def test_token_ids_are_whole_numbers(option: str, entry: Any) -> None:
    with pytest.raises(InputError, match=f"{option} holds "):
        make(**{option: [2, entry]})


@pytest.mark.parametrize("option", ["eos_token_ids", "banned_tokens", "action_tokens"])
@pytest.mark.parametrize("tokens", [3, "3", b"3", 2.5, torch.tensor(3)])
def test_token_ids_come_in_a_list(option: str, tokens: Any) -> None:
    with pytest.raises(InputError, match=f"{option} must be a list of token ids, got"):
        make(**{option: tokens})


@pytest.mark.parametrize("container", [list, tuple, iter, np.array, torch.tensor])
def test_token_ids_and_stop_strings_may_be_in_any_container(container: Any) -> None:
    env = make(eos_token_ids=container([2, 3]), banned_tokens=container([5]), action_tokens=container([1, 2, 3, 5]))
    assert env.task.end_ids == (2, 3)
    assert env.task.action_tokens[env.task.legal].tolist() == [1, 2, 3]
    texts = iter(["cd", "g"]) if container is iter else np.array(["cd", "g"]) if container is np.array else ("cd", "g")
    assert make(stop_strings=texts).task.stop_strings == ("cd", "g")


@pytest.mark.parametrize("tokenizer", [None, "gpt2", object(), LetterTokenizer])
def test_what_is_no_tokenizer_is_named(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"tokenizer must be a tokenizer of transformers, or have .*got "):
        TextGenEnv(["abc"], length, tokenizer)
