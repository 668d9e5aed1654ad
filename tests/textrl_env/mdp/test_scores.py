"""What a reward function may return: real numbers of any type in any container, or None where it does not apply."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from textrl_env import InputError, TextGenEnv, Weighted
from textrl_env.mdp import RewardSum
from textrl_env.mdp.scores import LARGEST_SCORE
from textrl_env.worlds import LetterTokenizer

BATCH = {"prompts": ["x", "y", "z"], "completions": ["one", "two", "three"]}


def score(reward: Any) -> dict[str, list[float]]:
    """The terms of three completions, of the prompts 3, 5 and 7."""
    return {name: values.tolist() for name, values in RewardSum(reward)(BATCH, prompt_indices=[3, 5, 7]).items()}


def returns(scores: Any) -> Callable[..., Any]:
    def my_reward(completions: list[str]) -> Any:
        return scores

    return my_reward


FLOATS = ("float16", "float32", "float64", "longdouble")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
TORCH = (torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int32, torch.int64)
NUMBERS: dict[str, Callable[[int], Any]] = {
    "int": int,
    "float": float,
    "Fraction": Fraction,
    "Decimal": Decimal,
    **{name: np.dtype(name).type for name in (*FLOATS, *INTEGERS)},
    "0-d array": lambda n: np.array(n, dtype=np.float16),
    "0-d object array": lambda n: np.array(Fraction(n), dtype=object),
    **{f"tensor of {dtype}": lambda n, dtype=dtype: torch.tensor(n, dtype=dtype) for dtype in TORCH},
    "tensor with gradients": lambda n: torch.tensor(float(n), requires_grad=True) * 1,
}
ARRAYS: dict[str, Callable[[list[int]], Any]] = {
    "tuple": tuple,
    "generator": lambda ns: (n for n in ns),
    "map": lambda ns: map(float, ns),
    "dict values": lambda ns: dict(enumerate(ns)).values(),
    **{name: lambda ns, name=name: np.array(ns, dtype=name) for name in (*FLOATS, *INTEGERS)},
    "array of objects": lambda ns: np.array([Fraction(n) for n in ns], dtype=object),
    "strided array": lambda ns: np.repeat(np.array(ns, dtype=np.float32), 2)[::2],
    **{f"tensor of {dtype}": lambda ns, dtype=dtype: torch.tensor(ns, dtype=dtype) for dtype in TORCH},
    "tensor with gradients": lambda ns: torch.tensor(ns, dtype=torch.bfloat16, requires_grad=True) * 1,
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@given(values=st.tuples(*[st.integers(0, 100)] * 3))
def test_a_list_may_hold_real_numbers_of_any_type(number: Callable[[int], Any], values: tuple[int, ...]) -> None:
    assert score(returns([number(value) for value in values])) == {"score": [float(value) for value in values]}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@given(values=st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_scores_may_be_in_any_container(array: Callable[[list[int]], Any], values: list[int]) -> None:
    assert score(returns(array(values))) == {"score": [float(value) for value in values]}


@pytest.mark.parametrize("array", [list, np.array, torch.tensor])
def test_truth_values_are_0_and_1(array: Any) -> None:
    assert score(returns(array([True, False, True]))) == {"score": [1.0, 0.0, 1.0]}


@given(values=st.lists(st.floats(-1e15, 1e15), min_size=3, max_size=3))
def test_floats_come_through_bit_by_bit(values: list[float]) -> None:
    assert score(returns(values)) == score(returns(np.array(values))) == {"score": values}


def test_a_series_of_pandas_is_read_in_its_order_whatever_its_index() -> None:
    pandas = pytest.importorskip("pandas")
    assert score(returns(pandas.Series([1, 2, 3], index=[2, 0, 1]))) == {"score": [1.0, 2.0, 3.0]}


@given(
    first=st.lists(st.none() | st.integers(-9, 9), min_size=3, max_size=3),
    second=st.lists(st.none() | st.integers(-9, 9), min_size=3, max_size=3),
    weight=st.sampled_from([0, 0.5, 2, Fraction(1, 4), np.float32(3)]),
)
def test_none_is_left_out_of_the_sum_and_is_an_error_where_no_function_applies(
    first: list[int | None], second: list[int | None], weight: Any
) -> None:
    source = {"first": Weighted(returns(first), weight), "second": returns(second)}
    nowhere = [row for row, pair in enumerate(zip(first, second, strict=True)) if pair == (None, None)]
    if nowhere:
        with pytest.raises(InputError) as caught:
            score(source)
        place = f"prompt {[3, 5, 7][nowhere[0]]}, completion {BATCH['completions'][nowhere[0]]!r}"
        assert place in str(caught.value)
        assert "None" in str(caught.value)
    else:
        weighted = [float(weight) * (value or 0) for value in first]
        assert score(source) == {"first": weighted, "second": [float(value or 0) for value in second]}


def test_a_single_function_learns_what_none_means() -> None:
    with pytest.raises(InputError, match=r"prompt 5, completion 'two'.*my_reward returned None.*does not apply"):
        score(returns([1.0, None, 2.0]))


@pytest.mark.parametrize("scores", [[np.ma.masked, 2.0, 3.0], np.ma.masked_array([1.0, 2.0, 3.0], mask=[1, 0, 0])])
def test_what_numpy_masks_does_not_apply(scores: Any) -> None:
    assert score({"maths": returns(scores), "length": returns([1, 1, 1])})["maths"] == [0.0, 2.0, 3.0]
    with pytest.raises(InputError, match=r"prompt 3, completion 'one'.*does not apply"):
        score(returns(scores))


def test_a_term_that_does_not_apply_is_0_in_the_ledger() -> None:
    env = TextGenEnv(["ab"], {"maths": returns([None]), "length": returns([1.5])}, LetterTokenizer(8), max_new_tokens=1)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert (reward, info["score"], info["reward_terms"]) == (1.5, 1.5, {"maths": 0.0, "length": 1.5})


FAULTS: dict[str, tuple[Any, str]] = {
    "text": (["0.5", 1.0, 1.0], "returned '0.5' for prompt 3, completion 'one'; a real number was expected, not a str"),
    "NumPy's text": (np.array(["1", "2", "3"]), "returned '1' for prompt 3"),
    "bytes": ([b"1", 1, 1], "not a bytes"),
    "a buffer": ([bytearray(b"1"), 1, 1], "not a bytearray"),
    "complex": ([1, 1j, 1], "returned 1j for prompt 5, completion 'two'"),
    "NumPy's complex": ([1, 1, np.complex64(2)], "prompt 7, completion 'three'"),
    "complex array": (np.ones(3, dtype=complex), "a real number was expected"),
    "complex longdouble": ([np.clongdouble(1), 1, 1], "a real number was expected"),
    "complex tensor": (torch.ones(3, dtype=torch.complex64), "a real number was expected"),
    "NaN": ([1.0, float("nan"), 1.0], "nan for prompt 5, completion 'two'; it must be finite"),
    "NaN of bfloat16": (torch.tensor([1.0, 1.0, float("nan")], dtype=torch.bfloat16), "nan for prompt 7"),
    "Inf": (np.array([1.0, -np.inf, 1.0], dtype=np.float16), "-inf for prompt 5"),
    "Decimal NaN": ([Decimal("NaN"), 1, 1], "must be finite"),
    "signalling NaN": ([Decimal("sNaN"), 1, 1], "a real number was expected"),
    "huge": ([1e300, 1, 1], r"returned 1e\+300 for prompt 3.*at most 1e\+15 in magnitude, since rollouts hold float32"),
    "huge integer": ([1, 1, -(10**400)], "for prompt 7.*at most 1e"),
    "huge fraction": ([Fraction(10**400), 1, 1], "for prompt 3.*at most 1e"),
    "dict": ({"one": 1.0, "two": 1.0, "three": 1.0}, r"must return 3 numbers.*got dict"),
    "set": ({1.0, 2.0, 3.0}, "must return 3 numbers.*got set"),
    "one text": ("abc", "must return 3 numbers.*got str 'abc'"),
    "one number": (1.0, "must return 3 numbers.*got float 1.0"),
    "one tensor": (torch.tensor(1.0), r"must return 3 numbers.*got shape \(\)"),
    "nothing": (None, "must return 3 numbers.*got None; is a `return` missing"),
    "too few": ([1.0], "must return 3 numbers.*got 1"),
    "too many": (iter([1.0] * 9), "must return 3 numbers.*got 4"),
    "a column": (np.ones((3, 1)), r"got shape \(3, 1\); drop its last axis: \[:, 0\]"),
    "a row": (torch.ones(1, 3), r"got shape \(1, 3\)"),
    "token by token": (
        [[0.5, 0.5], [1.0], [0.0]],
        r"returned \[0.5, 0.5\] for prompt 3.*token by token, return the sum",
    ),
    "tensors of one": ([torch.ones(1)] * 3, "one number was expected"),
    "nested dict": ([{"score": 1.0}, 1, 1], "a real number was expected, not a dict"),
    "times": (np.ones(3, dtype="timedelta64[s]"), "got times"),
    "a time": ([np.timedelta64(1, "s"), 1, 1], "a real number was expected, not a"),
    "a tensor without values": (torch.ones(3, device="meta"), "got a Tensor that has no list"),
}


@pytest.mark.parametrize(("scores", "message"), FAULTS.values(), ids=FAULTS)
def test_anything_else_is_refused_by_name_place_and_value(scores: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"my_reward .*{message}"):
        score(returns(scores))


def test_scores_up_to_the_limit_train_and_beyond_it_a_weight_carries_none() -> None:
    assert np.isfinite(np.float32(LARGEST_SCORE) ** 2 * np.float32(1e6))
    assert score(returns([LARGEST_SCORE, -LARGEST_SCORE, 0]))["score"][0] == LARGEST_SCORE
    with pytest.raises(InputError, match=r"reward 'first' is 2e\+15 with its weight for prompt 3, completion 'one'"):
        score({"first": Weighted(returns([LARGEST_SCORE, 0, 0]), 2.0)})


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e300, "1", None, 1j, [1.0], np.ones(2)])
def test_a_weight_is_a_finite_number(weight: Any) -> None:
    with pytest.raises(InputError, match="a reward's weight is"):
        Weighted(returns([0.0]), weight)


def test_a_weight_of_zero_leaves_bad_scores_bad() -> None:
    with pytest.raises(InputError, match="must be finite"):
        score({"first": Weighted(returns([float("inf")] * 3), 0.0), "second": returns([1, 1, 1])})
