"""Tasks with one right answer: the answer is right, nothing else is, and the stated returns are exact."""

from typing import Any

import numpy as np
import pytest

from textrl_env import InputError
from textrl_env.worlds import ArithmeticWorld, CopyWorld, ReverseWorld, SortWorld, exact
from textrl_env.worlds.answers import AnswerWorld

SMALL = [
    CopyWorld(alphabet_size=3, length=3, n_prompts=5),
    CopyWorld(alphabet_size=1, length=1),
    ReverseWorld(alphabet_size=4, length=2, n_prompts=3),
    SortWorld(length=2, largest=9, n_prompts=1),
    SortWorld(length=1, largest=12),
    ArithmeticWorld(largest=9, n_prompts=6),
    ArithmeticWorld(largest=3, operations="*"),
    ArithmeticWorld(largest=3, operations="-"),
]
KINDS = [CopyWorld, ReverseWorld, SortWorld, ArithmeticWorld]


@pytest.mark.parametrize("world", SMALL, ids=repr)
def test_only_the_right_answer_gets_everything(world: AnswerWorld) -> None:
    for prompt in world.prompts[:3]:
        tree = exact.completion_tree(world, prompt)
        best = []
        for prefixes, end, scores in zip(tree.prefixes, tree.ends, tree.scores, strict=True):
            assert (scores >= 0).all() and (scores <= 1).all()
            best += [[*prefixes[row], token] for row, token in np.argwhere(end & (scores == 1))]
        assert best == [[*world.tokenizer.encode(world.answer(prompt)), world.tokenizer.eos_token_id]]
        assert world.reward([prompt], [world.answer(prompt)]) == [1.0]


@pytest.mark.parametrize("world", SMALL, ids=repr)
def test_the_stated_returns_are_those_of_looking_at_every_completion(world: AnswerWorld) -> None:
    assert world.best_return == exact.best_return(world) == 1.0
    assert world.random_return == pytest.approx(exact.random_return(world), rel=1e-12)


@pytest.mark.parametrize(
    ("world", "prompt", "scores"),
    [
        (CopyWorld(), "abc", {"abc": 1, "ab": 0.5, "abd": 0.5, "": 0, "bbc": 0, "abca": 0.75, "a": 0.25}),
        (ReverseWorld(), "abc", {"cba": 1, "abc": 0, "cb": 0.5, "cbab": 0.75}),
        (SortWorld(), "5,10,2=", {"2,5,10": 1, "10,2,5": 0, "2,5,1": 0, "2,5,10=": 0, "02,5,10": 0}),
        (SortWorld(), "3,1,3=", {"1,3,3": 1, "1,3": 0}),
        (ArithmeticWorld(), "3-7=", {"-4": 1, "4": 0, "-": 0, "-4=": 0}),
        (ArithmeticWorld(), "8+5=", {"13": 1, "1": 0, "013": 0, "3": 0}),
        (ArithmeticWorld(operations="*"), "12*12=", {"144": 1, "24": 0}),
    ],
)
def test_scores_by_hand(world: AnswerWorld, prompt: str, scores: dict[str, float]) -> None:
    assert world.reward([prompt] * len(scores), list(scores)) == list(scores.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_distinct_prompts_that_fit(kind: Any) -> None:
    world = kind(seed=3)
    assert world.prompts == kind(seed=3).prompts != kind(seed=4).prompts
    assert len(set(world.prompts)) == 64
    assert kind(seed=3, n_prompts=10).prompts == world.prompts[:10]
    longest = max(len(world.tokenizer.encode(world.answer(prompt))) for prompt in kind(n_prompts=200).prompts)
    assert longest + 1 == world.max_new_tokens


@pytest.mark.parametrize("world", SMALL, ids=repr)
def test_every_possible_prompt_is_drawn(world: AnswerWorld) -> None:
    everything = type(world)(**{**world.__dict__, "n_prompts": world.n_possible})
    assert len(set(everything.prompts)) == world.n_possible
    assert max(len(everything.answer(prompt)) for prompt in everything.prompts) + 1 == world.max_new_tokens


def test_the_largest_calculations_fit_the_length_limit() -> None:
    world = ArithmeticWorld(largest=12, operations="+-*", n_prompts=13 * 13 * 3)
    assert max(len(world.answer(prompt)) for prompt in world.prompts) + 1 == world.max_new_tokens


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (CopyWorld, {"length": 0}, "length must be at least 1"),
        (CopyWorld, {"alphabet_size": 27}, "alphabet_size must be at most 26, got 27"),
        (CopyWorld, {"alphabet_size": 2, "length": 2, "n_prompts": 5}, r"n_prompts must be in \[1, 4\], got 5"),
        (SortWorld, {"n_prompts": 0}, r"n_prompts must be at least 1, got 0"),
        (SortWorld, {"seed": -1}, "seed must be a whole number from 0"),
        (ArithmeticWorld, {"operations": "/"}, "operations must be some of"),
        (ArithmeticWorld, {"operations": ""}, "operations must be some of"),
        (ArithmeticWorld, {"operations": "++"}, "each once"),
    ],
)
def test_impossible_parameters_are_named(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**options)


@pytest.mark.parametrize(("world", "prompt"), [(SortWorld(), "5;2="), (SortWorld(), "5,2"), (ArithmeticWorld(), "7=")])
def test_a_foreign_prompt_is_named(world: AnswerWorld, prompt: str) -> None:
    with pytest.raises(InputError, match=f"a prompt of this world is .* got {prompt!r}"):
        world.reward([prompt], ["1"])
