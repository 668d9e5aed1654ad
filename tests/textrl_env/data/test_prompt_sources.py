"""Parquet files and datasets of other libraries; splits and duplicates."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from textrl_env import InputError, PromptDataset

MESSAGES = [{"role": "user", "content": "hello", "name": None}]


def parquet_file(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "p.parquet"
    parquet.write_table(table, path, **options)
    return path


def test_parquet_rows_come_as_python_values_with_their_places(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["ab", "dé"], "level": [1, None], "tags": [["x"], []]})
    path = parquet_file(tmp_path, table, row_group_size=1)
    dataset = PromptDataset.of(path)
    assert dataset.prompts == ("ab", "dé")
    assert dataset.columns == {"level": [1, None], "tags": [["x"], []]}
    assert dataset.where == (f"{path}: row 1", f"{path}: row 2")


def test_parquet_may_hold_conversations(tmp_path: Path) -> None:
    assert PromptDataset.of(parquet_file(tmp_path, pa.table({"prompt": [MESSAGES]}))).prompts == (MESSAGES,)


def not_utf8() -> pa.Array:
    return pa.Array.from_buffers(pa.string(), 2, pa.array([b"ab", b"c\xff"], pa.binary()).buffers())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"prompt": ["ab", None]}), "p.parquet: row 2: column 'prompt' must be text, got null"),
        (pa.table({"prompt": ["ab", " "]}), "p.parquet: row 2: column 'prompt' is empty"),
        (
            pa.table({"prompt": not_utf8()}),
            "p.parquet: row 2: a text of column 'prompt' is not UTF-8 at its byte 1 .found 0xff",
        ),
    ],
)
def test_bad_parquet_rows_are_named_and_can_be_skipped(tmp_path: Path, table: pa.Table, message: str) -> None:
    path = parquet_file(tmp_path, table)
    with pytest.raises(InputError, match=message):
        PromptDataset.of(path)
    with pytest.warns(UserWarning, match="skipped 1 bad rows of 2; first: .*" + message):
        assert PromptDataset.from_file(path, on_bad_row="skip").prompts == ("ab",)


def test_without_pyarrow_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_file(tmp_path, pa.table({"prompt": ["ab"]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"p\.parquet: reading Parquet needs pyarrow; run: pip install pyarrow"):
        PromptDataset.of(path)


class ArrowDataset:
    """What `datasets.Dataset` is to a reader: an iterable of mappings over an Arrow table, not a list."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._table.to_pylist())


def test_any_iterable_of_mappings_is_a_source() -> None:
    table = pa.table({"question": ["ab", "c"], "answer": [3, None]})
    dataset = PromptDataset.of(ArrowDataset(table), prompt_column="question")
    assert (dataset.prompts, dataset.columns) == (("ab", "c"), {"answer": [3, None]})
    with pytest.raises(InputError, match=r"prompt 0: no column 'prompt' \(found: 'question'\)"):
        PromptDataset.of(ArrowDataset(pa.table({"question": ["ab"]})))


def test_a_column_that_comes_late_or_goes_is_none_elsewhere() -> None:
    dataset = PromptDataset.of([{"prompt": "a", "x": 1}, {"prompt": "b"}, {"prompt": "c", "y": [2]}, "d"])
    assert dataset.columns == {"x": [1, None, None, None], "y": [None, None, [2], None]}
    assert dataset.columns_of([2, 0]) == {"x": [None, 1], "y": [[2], None]}


ROWS = [{"prompt": f"prompt {i % 40}", "n": i} for i in range(100)]


def test_no_prompt_is_on_both_sides_of_a_split_and_no_row_is_lost() -> None:
    train, heldout = PromptDataset.of(ROWS).split(0.25, seed=0)
    assert not set(train.prompts) & set(heldout.prompts)
    assert len(set(heldout.prompts)) == 10 and len(set(train.prompts)) == 30
    for side in (train, heldout):
        assert side.columns["n"] == sorted(side.columns["n"])
        rows = zip(side.prompts, side.columns["n"], side.where, strict=True)
        assert all((f"prompt {n % 40}", f"prompt {n}") == (prompt, where) for prompt, n, where in rows)
    assert sorted(train.columns["n"] + heldout.columns["n"]) == list(range(100))


def test_the_seed_decides_the_split() -> None:
    sides = [PromptDataset.of(ROWS).split(0.5, seed=seed)[1].prompts for seed in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]


def test_both_sides_get_a_prompt_whatever_the_fraction() -> None:
    dataset = PromptDataset.of([MESSAGES, [{"role": "user", "content": "bye"}], MESSAGES])
    for fraction in (0.001, 0.999):
        train, heldout = dataset.split(fraction, seed=0)
        assert len(train) + len(heldout) == 3 and {len(train), len(heldout)} == {1, 2}


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_impossible_fractions_are_named(fraction: float) -> None:
    with pytest.raises(InputError, match=r"heldout_fraction must be in \(0, 1\), got"):
        PromptDataset.of(ROWS).split(fraction, seed=0)


def test_one_prompt_cannot_be_split() -> None:
    with pytest.raises(InputError, match="two distinct prompts"):
        PromptDataset.of(["a", "a"]).split(0.5, seed=0)


def test_duplicates_are_counted_with_their_places() -> None:
    found = PromptDataset.of(ROWS).duplicates()
    assert found.count == sum(count - 1 for count in Counter(row["prompt"] for row in ROWS).values()) == 60
    assert found.examples == tuple((f"prompt {40 + i}", f"prompt {i}") for i in range(5))
    assert PromptDataset.of(["a", "A", "a "]).duplicates().count == 0
    conversations = PromptDataset.of([MESSAGES, [dict(reversed(MESSAGES[0].items()))]])
    assert conversations.duplicates().examples == (("prompt 1", "prompt 0"),)
