"""Rows in whatever container a user has: the same prompts and columns, as Python's own values."""

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from textrl_env import InputError, PromptDataset
from textrl_env.data import iterate_rows

pd = pytest.importorskip("pandas")
Rows = list[dict[str, Any]]


class PolarsFrame:
    """What a frame of polars is to a reader: columns, rows as tuples, and an iterator over columns."""

    def __init__(self, rows: Rows) -> None:
        self.columns = list(rows[0])
        self._rows = [tuple(row[name] for name in self.columns) for row in rows]

    def iter_rows(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def __iter__(self) -> Iterator[list[Any]]:
        return map(list, zip(*self._rows, strict=True))


class LazyFrame:
    """What a lazy frame of polars is to a reader: no rows until it is collected."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def collect_schema(self) -> None: ...

    def collect(self) -> PolarsFrame:
        return PolarsFrame(self._rows)


class TorchDataset:
    """What torch calls a map-style dataset: entries by number, without an end of their own."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index % len(self._rows)]


class FormattedDataset:
    """What a `datasets.Dataset` with the format of NumPy is to a reader."""

    def __init__(self, rows: Rows, row_format: str | None = "numpy") -> None:
        self._rows = rows
        self.format = {"type": row_format, "columns": list(rows[0])}

    def with_format(self, row_format: None, *, columns: list[str]) -> "FormattedDataset":
        return FormattedDataset([{name: row[name] for name in columns} for row in self._rows], None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            yield {name: np.array(value) if self.format["type"] else value for name, value in row.items()}


FRAMES: dict[str, Callable[[Rows], Any]] = {
    "data frame": pd.DataFrame,
    "nullable data frame": lambda rows: pd.DataFrame(rows).convert_dtypes(),
    "data frame with an index": lambda rows: pd.DataFrame(rows, index=list(range(len(rows)))[::-1]),
    "rows of a data frame": lambda rows: (row for _, row in pd.DataFrame(rows).iterrows()),
    "named tuples of a data frame": lambda rows: pd.DataFrame(rows).itertuples(index=False),
    "Arrow table": pa.Table.from_pylist,
    "Arrow batch": pa.RecordBatch.from_pylist,
    "frame of polars": PolarsFrame,
    "lazy frame of polars": LazyFrame,
    "dataset of torch": TorchDataset,
    "dataset with a format": FormattedDataset,
    "tuple": tuple,
    "generator": lambda rows: (row for row in rows),
}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4).filter(str.strip)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"prompt": TEXT, "answer": TEXT, "score": st.none() | st.floats(-1, 1), "flag": st.booleans()}
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("container", FRAMES.values(), ids=FRAMES)
@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_rows_are_the_same_in_every_container(container: Callable[[Rows], Any], rows: Rows) -> None:
    dataset, expected = PromptDataset.of(container(rows)), PromptDataset.of(rows)
    assert dataset == expected
    assert dataset.prompts == tuple(row["prompt"] for row in rows)
    for name in ("answer", "score", "flag"):
        values = dataset.columns[name]
        assert values == [row[name] for row in rows]
        assert [type(value) for value in values] == [type(row[name]) for row in rows]


TEXTS: dict[str, Callable[[list[str]], Any]] = {
    "series": lambda texts: pd.Series(texts, index=range(len(texts))[::-1]),
    "categorical": lambda texts: pd.Series(pd.Categorical(texts)),
    "index": pd.Index,
    "array of texts": np.array,
    "array of objects": lambda texts: np.array(texts, dtype=object),
    "Arrow array": pa.array,
    "chunked Arrow array": lambda texts: pa.chunked_array([pa.array(texts)]),
    "NumPy's texts": lambda texts: [np.str_(text) for text in texts],
    "dict values": lambda texts: dict(enumerate(texts)).values(),
}


@pytest.mark.parametrize("container", TEXTS.values(), ids=TEXTS)
@settings(max_examples=20, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_texts_are_the_same_in_every_container(container: Callable[[list[str]], Any], texts: list[str]) -> None:
    prompts = PromptDataset.of(container(texts)).prompts
    assert prompts == tuple(texts)
    assert {type(prompt) for prompt in prompts} == {str}


def test_conversations_in_a_parquet_files_data_frame_are_lists() -> None:
    conversation = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}]
    table = pa.Table.from_pylist([{"prompt": conversation, "tests": [["x", "y"]]}])
    frame = table.to_pandas()
    assert isinstance(frame["prompt"][0], np.ndarray)
    dataset = PromptDataset.of(frame)
    assert dataset == PromptDataset.of([{"prompt": conversation, "tests": [["x", "y"]]}])
    assert dataset.conversational


class Point(NamedTuple):
    """A row of a user's own type."""

    prompt: str
    x: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.str_("a"), "a"),
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.True_, True),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([{"role": np.str_("user")}], dtype=object), [{"role": "user"}]),
        (np.array([("a", 1)], dtype=[("text", "U1"), ("n", "i4")])[0], {"text": "a", "n": 1}),
        ({"a": (np.int64(1), [np.float64(2)])}, {"a": (1, [2.0])}),
        (Point("a", float("nan")), {"prompt": "a", "x": None}),
        (pd.Series({"prompt": "a", "x": pd.NA}), {"prompt": "a", "x": None}),
    ],
)
def test_values_become_pythons_own(value: Any, expected: Any) -> None:
    (row,) = iterate_rows([value], name="rows")

    def types(value: Any) -> Any:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        return type(value), [types(entry) for entry in inner]

    assert row == expected
    assert types(row) == types(expected)


def test_an_array_of_numbers_stays_an_array_and_other_objects_stay_themselves() -> None:
    array, thing = np.arange(3), object()
    (row,) = iterate_rows([{"array": array, "thing": thing}], name="rows")
    array[:] = 0
    assert row["thing"] is thing
    np.testing.assert_array_equal(row["array"], [0, 1, 2])


def test_rows_share_nothing_with_their_container() -> None:
    rows = [{"prompt": [{"role": "user", "content": "ab"}], "tests": [{"x": [1]}]}]
    pristine = copy.deepcopy(rows)
    (row,) = iterate_rows(rows, name="rows")
    row["prompt"][0]["content"] = "c"
    row["tests"][0]["x"].append(2)
    row["new"] = 3
    assert rows == pristine


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"prompt": ["a"], "answer": ["b"]}, "got a dict of 'prompt', 'answer'; .*its columns as a data frame"),
        ({}, "got a dict of nothing"),
        (b"ab", "got a bytes, b'ab'; pass a list"),
        ({"ab", "c"}, "got a set, which has no order"),
        (io.StringIO("ab"), "got a StringIO, an open file; pass its path"),
        (None, "got NoneType None; pass a list, a data frame"),
        (3, "got int 3"),
        (np.array("ab"), "got ndarray"),
        (pd.DataFrame([["a", "b"]], columns=["prompt", "prompt"]), "two columns of one name"),
        (pd.DataFrame([["a", "b"]]), r"prompt 0: no column 'prompt' \(found: 0, 1\)"),
        (pd.DataFrame({"prompt": ["a", None]}), "prompt 1: column 'prompt' must be text, got null"),
        (pd.DataFrame({"prompt": []}), "no usable row"),
        (pd.Series(["a", float("nan")]), "prompt 1: column 'prompt' must be text, got null"),
        ([b"ab"], "prompt 0: column 'prompt' must be text, got bytes"),
        (np.array([b"ab"]), "prompt 0: column 'prompt' must be text, got bytes"),
        (np.arange(3), "prompts: no usable row|prompt 0: column 'prompt' must be text, got int"),
    ],
)
def test_what_holds_no_rows_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PromptDataset.of(source)
