"""Files of every format and kind of row become labels; what is none of these becomes a bad row with its place."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings, strategies as st
from pyarrow import parquet

from textrl_env.errors import InputError
from textrl_env.reward_models.lint import LintOptions, lint, read_corpus
from textrl_env.reward_models.lint.labels import LabelFile, read_labels

PLAIN = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(3)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(rows))
        case ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        case ".parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> tuple[LabelFile, list[str]]:
    numbers: dict[str, int] = {}
    return read_labels(path, numbers), list(numbers)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_every_format_gives_the_same_labels(tmp_path: Path, ending: str) -> None:
    labels, texts = read(write(tmp_path / f"data.{ending}", PLAIN))
    assert labels.bad == () and all(label.where.startswith(str(tmp_path)) for label in labels.labels)
    assert [(texts[label.prompt], *(texts[text] for text in label.ranking)) for label in labels.labels] == [
        tuple(row.values()) for row in PLAIN
    ]


def test_conversations_are_read_as_trl_has_them(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Hi"}]
    good, bad = ([{"role": "assistant", "content": text}] for text in ("Hello.", "What?"))
    rows = [
        {"prompt": asked, "chosen": good, "rejected": bad},
        {"chosen": asked + good, "rejected": asked + bad},
        {"prompt": "Hi", "chosen": "Hello.", "rejected": "What?"},
    ]
    labels, texts = read(write(tmp_path / "data.jsonl", rows))
    assert len({(label.prompt, label.ranking) for label in labels.labels}) == 1 and texts == ["Hi", "Hello.", "What?"]
    assert list(labels.conversations.values()) == [asked]
    several = [*asked, *good, {"role": "user", "content": "Bye"}]
    labels, texts = read(write(tmp_path / "data.jsonl", [{"prompt": several, "chosen": good, "rejected": bad}]))
    assert texts[0] == "user: Hi\nassistant: Hello.\nuser: Bye"


def test_rankings_places_and_annotators_are_kept(tmp_path: Path) -> None:
    row = {"prompt": "p", "ranking": ["a", "b", "c"], "annotator": 7, "shown": [2, 0, 1], "soft_labels": [1, 0.5, 0.2]}
    ((label,), _) = read(write(tmp_path / "data.jsonl", [row]))[0].labels, None
    assert (label.places, label.annotator, label.probabilities) == ((2, 0, 1), "7", (1.0, 0.5, 0.2))
    for other in ([0, 0, 1], [1, 2], "021", [True, False, 2]):
        ((label,), _) = read(write(tmp_path / "data.jsonl", [row | {"shown": other}]))[0].labels, None
        assert label.places is None


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_rows_is_no_input(tmp_path: Path, content: str) -> None:
    (tmp_path / "data.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"data\.jsonl: no row"):
        read(tmp_path / "data.jsonl")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "other.jsonl")


def test_a_column_to_slice_by_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row has a column 'kind'"):
        read_labels(write(tmp_path / "data.jsonl", PLAIN), {}, by="kind")


SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats(allow_nan=False) | st.sampled_from(["", "a", "b ", "A"])
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user")}, optional={"content": SCALARS}), max_size=2)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | MESSAGES
COLUMNS = ("prompt", "chosen", "rejected", "ranking", "tie", "soft_label", "soft_labels", "annotator", "shown", "kind")
TEXTS = st.fixed_dictionaries(
    {"prompt": st.sampled_from("pq"), "chosen": st.sampled_from("ab"), "rejected": st.just("c")}
)
JUNK = st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, VALUES))
ROWS = SCALARS | st.lists(SCALARS, max_size=2) | JUNK | TEXTS | st.builds(lambda row, junk: row | junk, TEXTS, JUNK)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=6))
def test_no_row_ends_the_lint_with_anything_but_findings(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = lint(read_corpus(path, LintOptions(max_chars=2), against=path))
    assert report.n_rows + sum(f.count for f in report.findings if f.check in ("bad rows", "identical texts")) == len(
        rows
    )
    json.dumps(report.as_dict(), allow_nan=False)
