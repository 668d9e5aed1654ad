"""Which arguments a reward function receives: by name, decided when the environment is made, and its own copies."""

import asyncio
import copy
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from textrl_env import InputError, LengthPenalty, TextGenEnv, TextGenVectorEnv
from textrl_env.mdp import RewardSum
from textrl_env.mdp.binding import BATCH_ARGUMENTS, RESERVED_NAMES, copy_of
from textrl_env.worlds import LetterTokenizer

ROWS = [{"prompt": "ab", "answer": "c", "tests": [{"input": [1], "output": "x"}], "two words": 5}]
CONVERSATION = [{"role": "user", "content": "ab"}]


class ChatLetters(LetterTokenizer):
    """Letters with a chat template, the messages one after another."""

    chat_template = "messages"

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        return "".join(message["content"] for message in messages)


def run(reward: Any, rows: Any = ROWS, *, episodes: int = 1) -> list[dict[str, Any]]:
    """Ends episodes with the letters "b" and the end token; returns their infos."""
    env = TextGenEnv(rows, reward, ChatLetters(8), max_new_tokens=2, max_prompt_tokens=4)
    infos = []
    for _ in range(episodes):
        env.reset(options={"prompt_index": 0})
        env.step(2)
        infos.append(env.step(0)[4])
    return infos


def full(
    prompts: Any, completions: Any, prompt_ids: Any, completion_ids: Any, finish_reason: Any, **columns: Any
) -> Any:
    assert (prompts, completions) == (["ab"], ["b"])
    assert (prompt_ids, completion_ids, finish_reason) == ([[1, 2]], [[2, 0]], ["eos"])
    expected = {"answer": ["c"], "tests": [ROWS[0]["tests"]], "two words": [5]}
    assert columns == {**expected, "rendered_prompts": ["ab"]}
    return [4.0]


def test_every_argument_holds_what_its_name_says() -> None:
    assert run(full)[0]["score"] == 4.0


def forwards(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def by_position_only(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def narrows(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(completions: Any, answer: Any) -> Any:
        return function(answer=answer)

    return wrapper


@forwards
def decorated(answer: Any) -> Any:
    return [len(answer[0])]


@by_position_only
def decorated_by_position(answer: Any, completions: Any) -> Any:
    return [len(answer[0] + completions[0]) / 2]


@narrows
def decorated_with_other_parameters(answer: Any) -> Any:
    return [len(answer[0])]


def positional_only(answer: Any, completions: Any, /) -> Any:
    return [float(answer == ["c"] and completions == ["b"])]


def with_defaults(missing: int = 1, /, completions: Any = (), *, scale: float = 1.0) -> Any:
    return [missing * scale * len(completions)]


async def coroutine(completions: Any, answer: Any) -> Any:
    await asyncio.sleep(0)
    return [len(answer[0])]


def generator(completions: Any) -> Any:
    for completion in completions:
        yield len(completion)


class Judge:
    """A reward function in every form that an object has."""

    def __call__(self, *, answer: Any) -> Any:
        return [len(answer[0])]

    def method(self, answer: Any) -> Any:
        return [len(answer[0])]

    @forwards
    def decorated(self, answer: Any) -> Any:
        return [len(answer[0])]

    @classmethod
    def of_class(cls, answer: Any) -> Any:
        return [len(answer[0])]

    @staticmethod
    def static(answer: Any) -> Any:
        return [len(answer[0])]


class AsynchronousJudge:
    async def __call__(self, answer: Any) -> Any:
        return [len(answer[0])]


class Network(torch.nn.Module):
    def forward(self, answer: Any) -> Any:
        return torch.ones(len(answer))


FORMS = [
    lambda answer: [1],
    lambda completions, *args, answer: [1 + len(args)],
    decorated,
    decorated_by_position,
    decorated_with_other_parameters,
    positional_only,
    with_defaults,
    coroutine,
    generator,
    Judge(),
    Judge().method,
    Judge().decorated,
    Judge.of_class,
    Judge.static,
    AsynchronousJudge(),
    Network(),
    functools.partial(with_defaults, scale=1.0),
    functools.partial(lambda factor, answer: [factor], 1.0),
    functools.partial(lambda answer, level: [level], level=1.0),
]


@pytest.mark.parametrize("reward", FORMS)
def test_callables_of_every_form_are_bound_by_name(reward: Any) -> None:
    assert run(reward)[0]["score"] == 1.0


def test_what_a_partial_has_filled_no_column_replaces() -> None:
    reward = functools.partial(lambda completions, answer, **columns: [float(answer == "preset")], answer="preset")
    assert run(reward)[0]["score"] == 1.0


def test_coroutines_run_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> float:
        score: float = run(coroutine)[0]["score"]
        return score

    assert asyncio.run(cell()) == 1.0


def test_the_tokenizer_and_further_texts_go_to_those_who_name_them() -> None:
    calls: list[tuple[Any, ...]] = []

    def named(completions: Any, tokenizer: Any, rendered_prompts: Any, raw_completions: Any = None) -> Any:
        calls.append((tokenizer, rendered_prompts, raw_completions))
        return [0.0]

    def variadic(**arguments: Any) -> Any:
        assert set(arguments) == set(BATCH_ARGUMENTS)
        return [0.0]

    env = TextGenEnv([CONVERSATION], {"named": named, "variadic": variadic}, ChatLetters(8), max_new_tokens=2)
    env.reset(seed=0)
    env.step(2)
    env.step(0)
    ((tokenizer, rendered_prompts, raw_completions),) = calls
    assert tokenizer is env.task.tokenizer
    assert (rendered_prompts, raw_completions) == (["ab"], [env.task.tokenizer.decode([2, 0])])


@settings(max_examples=60, deadline=None)
@given(
    columns=st.lists(st.sampled_from(["answer", "level", "x1", "notes"]), unique=True),
    parameters=st.lists(st.sampled_from([*BATCH_ARGUMENTS, "answer", "level", "solution"]), unique=True, min_size=1),
    optional=st.sets(st.sampled_from(["answer", "level", "solution"])),
)
def test_a_required_parameter_that_no_column_fills_is_named_before_any_episode(
    columns: list[str], parameters: list[str], optional: set[str]
) -> None:
    calls: list[dict[str, Any]] = []
    names = [name for name in parameters if name not in optional], [name for name in parameters if name in optional]
    source = ", ".join([*names[0], *(f"{name}='default'" for name in names[1])])
    scope: dict[str, Any] = {"calls": calls}
    exec(f"def accuracy({source}):\n    calls.append(dict(locals()))\n    return [0.0]", scope)
    row = {"prompt": "ab"} | {name: f"{name}'s value" for name in columns}
    missing = [name for name in names[0] if name not in (*BATCH_ARGUMENTS, *columns)]
    receives = [name for name in parameters if name in (*BATCH_ARGUMENTS, *columns)]
    if missing or not receives:
        with pytest.raises(InputError) as caught:
            run(scope["accuracy"], [row])
        assert "accuracy" in str(caught.value)
        assert all(repr(name) in str(caught.value) for name in (*missing[:1], *(columns if missing else ())))
        assert not calls
    else:
        run(scope["accuracy"], [row])
        (call,) = calls
        for name in parameters:
            if name in columns:
                assert call[name] == [row[name]]
            elif name not in BATCH_ARGUMENTS:
                assert call[name] == "default"


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda p, c: [0.0], "needs 'p', .* by name only, so write its parameters as prompts, completions"),
        (lambda prompts, completion: [0.0], "needs 'completion', .*did you mean 'completions'"),
        (lambda *both: [0.0], "receives nothing: .*by name only"),
        (lambda: [0.0], "receives nothing"),
        (len, "len needs 'obj'"),
        (max, "max has no signature that can be read"),
        (Judge, "Judge is a class; pass an object of it"),
        (LengthPenalty, "LengthPenalty is a class"),
        (torch.nn.Linear(2, 1), "Linear needs 'input'"),
        ([decorated], "several functions into a mapping of names"),
        ("runs/mine/reward_model", "a reward model goes into ModelReward"),
        ({"": decorated}, "must have names"),
        ({1: decorated}, "must have names"),
    ],
)
def test_what_cannot_be_bound_is_refused_at_construction(reward: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextGenEnv(ROWS, reward, LetterTokenizer(8))


def vandalise(value: Any) -> None:
    """Changes whatever can be changed in a value, from the inside out."""
    if isinstance(value, list):
        for entry in value:
            vandalise(entry)
        value.append("vandal")
    elif isinstance(value, dict):
        for entry in value.values():
            vandalise(entry)
        value["vandal"] = "vandal"
    elif isinstance(value, np.ndarray):
        value[...] = 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(column=JSON, conversational=st.booleans())
def test_nothing_that_a_function_does_to_its_arguments_has_an_effect(column: Any, conversational: bool) -> None:
    prompt: Any = copy.deepcopy(CONVERSATION) if conversational else "ab"
    rows = [{"prompt": prompt, "column": column, "array": np.arange(3)}]
    pristine = copy.deepcopy(rows)
    calls: list[dict[str, Any]] = []

    def vandal(**arguments: Any) -> Any:
        calls.append({name: copy.deepcopy(value) for name, value in arguments.items()})
        for value in arguments.values():
            vandalise(value)
        return [0.0]

    infos = run({"first": vandal, "second": vandal}, rows, episodes=2)
    assert [info["score"] for info in infos] == [0.0, 0.0]
    assert len(calls) == 4
    for call in calls:
        np.testing.assert_array_equal(call.pop("array"), [np.arange(3)])
        assert call == calls[0]
    assert calls[0]["prompts"] == [prompt]
    assert calls[0]["column"] == [column]
    np.testing.assert_array_equal(rows[0].pop("array"), pristine[0].pop("array"))
    assert rows == pristine


def test_slots_that_share_a_row_receive_copies_of_their_own() -> None:
    def vandal(prompts: Any, tests: Any) -> Any:
        lengths = []
        for prompt, test in zip(prompts, tests, strict=True):
            prompt.append({"role": "assistant", "content": "c"})
            test.append("vandal")
            lengths.append(len(prompt) + len(test))
        return lengths

    rows = [{"prompt": CONVERSATION, "tests": [1]}]
    env = TextGenVectorEnv(rows, vandal, ChatLetters(8), num_envs=3, max_new_tokens=1, max_prompt_tokens=4)
    env.reset(seed=0)
    assert env.step(np.zeros(3, dtype=np.int64))[1].tolist() == [4.0, 4.0, 4.0]
    assert rows == [{"prompt": [{"role": "user", "content": "ab"}], "tests": [1]}]


def test_what_users_do_to_their_rows_afterwards_does_not_reach_the_environment() -> None:
    rows = [{"prompt": copy.deepcopy(CONVERSATION), "tests": [1]}]
    env = TextGenEnv(rows, lambda tests: [len(tests[0])], ChatLetters(8), max_new_tokens=1, max_prompt_tokens=4)
    vandalise(rows)
    env.reset(options={"prompt_index": 0})
    assert env.step(0)[4]["score"] == 1.0
    assert env.task.prompts.prompts == (CONVERSATION,)


def test_a_prompt_of_reset_is_scored_as_it_was_at_the_reset() -> None:
    messages = [{"role": "user", "content": "c"}]
    env = TextGenEnv(
        [CONVERSATION], lambda prompts: [len(prompts[0])], ChatLetters(8), max_new_tokens=1, max_prompt_tokens=4
    )
    env.reset(options={"prompt": messages})
    messages.append({"role": "assistant", "content": "a"})
    assert env.step(0)[4]["score"] == 1.0


def test_what_cannot_be_copied_is_handed_out_itself() -> None:
    connection = (byte for byte in b"an open connection")
    received: list[Any] = []

    def reward(connection: Any) -> Any:
        received.extend(connection)
        return [0.0]

    run(reward, [{"prompt": "ab", "connection": connection}])
    assert received == [connection]


@pytest.mark.parametrize("column", sorted(RESERVED_NAMES))
@pytest.mark.parametrize("reward", [lambda completions: [0.0], lambda **columns: [0.0]])
def test_a_column_with_the_name_of_another_argument_is_refused(column: str, reward: Any) -> None:
    with pytest.raises(InputError, match=f"column '{column}'.* rename the column"):
        TextGenEnv([{"prompt": "ab", column: "mine"}], reward, LetterTokenizer(8))


@pytest.mark.parametrize(
    "column",
    ["prompt_indices", "prompt_index", "score", "kl", "first", "arguments", "n", "two words", "ä-1"],
)
def test_a_column_of_any_other_name_is_passed_on(column: str) -> None:
    received: list[Any] = []

    def reward(completions: Any, **columns: Any) -> Any:
        received.append(columns[column])
        return [0.0]

    run({"first": reward}, [{"prompt": "ab", column: "mine"}])
    assert received == [["mine"]]


def test_a_column_whose_name_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="column 3; names of columns must be texts"):
        TextGenEnv([{"prompt": "ab", 3: "mine"}], lambda **columns: [0.0], LetterTokenizer(8))


def test_scoring_texts_alone_offers_texts_alone() -> None:
    assert RewardSum.score_texts(lambda completions: map(len, completions), ["a", "b"], ["", "cd"]) == [0.0, 2.0]
    assert RewardSum.score_texts(lambda completions: [], [], []) == []
    with pytest.raises(InputError, match="needs 'completion_ids'"):
        RewardSum.score_texts(LengthPenalty(1), ["a"], ["b"])


def test_copies_of_texts_and_ids_cost_less_than_deep_copies() -> None:
    batch = {"completions": ["text " * 50] * 256, "completion_ids": [list(range(200)) for _ in range(256)]}

    def duration(copies: Callable[[Any], Any]) -> float:
        start = time.perf_counter()
        assert copies(batch) == batch
        return time.perf_counter() - start

    fast, slow = (min(duration(copies) for _ in range(5)) for copies in (copy_of, copy.deepcopy))
    assert fast < 0.7 * slow
