"""Files of rows: what is written in any format comes back, and damage costs the rows that it hits and no other."""

import csv
import io
import json
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from textrl_env import InputError
from textrl_env.data import PromptDataset, read_rows
from textrl_env.data.rows import Fault, parse_rows

NAMES = ["prompt", "chosen", "note"]
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(FAST, max_examples=150)

# Whatever a text may hold, with a taste for what means something to CSV and JSON.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n,;"\t|[{ x'), max_size=12)
tables = st.lists(
    st.fixed_dictionaries({"prompt": texts.filter(str.strip), "chosen": texts, "note": texts}), min_size=1, max_size=6
)


def read(path: Path) -> list[Any]:
    return [row for _, row in parse_rows(path, "prompt")]


def write_csv(path: Path, rows: Iterable[dict[str, str]], *, encoding: str = "utf-8", **dialect: Any) -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, NAMES, **dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


@FAST
@given(
    rows=tables,
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_csv_comes_back(rows: Any, delimiter: str, end: str, quoting: Any, encoding: str, tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "t.csv", rows, encoding=encoding, delimiter=delimiter, lineterminator=end, quoting=quoting
    )
    assert read(path) == rows


@FAST
@given(rows=tables, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), end=st.sampled_from(["\n", "\r\n"]))
def test_json_lines_and_json_come_back(rows: Any, encoding: str, end: str, tmp_path: Path) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
    for name, text in (("t.jsonl", lines), ("t.json", json.dumps(rows, indent=1)), ("l.json", lines)):
        (tmp_path / name).write_bytes(text.encode(encoding))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if name == "l.json" and len(rows) > 1 else "error")
            if name == "l.json" and len(rows) == 1:
                continue  # One object is not told from JSON that is no list.
            assert read(tmp_path / name) == rows, name


@FAST
@given(rows=tables)
def test_parquet_comes_back(rows: Any, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == rows


def is_subsequence(part: list[Any], whole: list[Any]) -> bool:
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in part)


simple = st.text(st.sampled_from('ab,;" \u00fc'), min_size=1, max_size=8).filter(str.strip)
wide_tables = st.lists(
    st.fixed_dictionaries({"prompt": simple, "chosen": simple, "note": simple}), min_size=3, max_size=6
)


@MANY
@given(data=st.data(), rows=wide_tables, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_damage_to_a_row_of_csv_costs_that_row_at_most(data: Any, rows: Any, quoting: Any, tmp_path: Path) -> None:
    """Every other row is there, whichever character of a row is lost, or becomes a quote, a comma or a byte."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=quoting, lineterminator="\n").writerows(
        [NAMES, *([row[name] for name in NAMES] for row in rows)]
    )
    lines = [line.encode() for line in buffer.getvalue().split("\n")[:-1]]
    number = data.draw(st.integers(1, len(rows)))
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    piece = data.draw(st.sampled_from([b"", b'"', b",", b"\0", b"\xff", b'""']))
    lines[number] = lines[number][:place] + piece + lines[number][place + 1 :]
    path = tmp_path / "t.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    good = [row for row in read(path) if not isinstance(row, Fault)]
    assert is_subsequence([row for index, row in enumerate(rows, start=1) if index != number], good)


@MANY
@given(data=st.data(), rows=tables)
def test_damage_to_a_line_of_json_costs_that_line_at_most(data: Any, rows: Any, tmp_path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    number = data.draw(st.integers(0, len(rows) - 1))
    place = data.draw(st.integers(1, len(lines[number]) - 1))  # The first bytes of a file say what it is.
    lines[number] = lines[number][:place] + data.draw(st.binary(max_size=3)) + lines[number][place + 1 :]
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    good = [row for row in read(path) if not isinstance(row, Fault)]
    assert is_subsequence(rows[:number] + rows[number + 1 :], good)


@MANY
@given(
    content=st.binary(max_size=80)
    | texts.map(str.encode)
    | st.text('prompt\n\r,"{}[]:;\ta', max_size=60).map(str.encode),
    name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.json", "t.txt", "t.parquet"]),
)
def test_no_bytes_raise_anything_but_our_error(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for on_bad_row in ("error", "skip"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(InputError):
                PromptDataset.from_file(tmp_path / name, on_bad_row=on_bad_row)  # type: ignore[arg-type]


HEADER = "prompt,chosen\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", HEADER + 'A,yes\nB,"yes" he said\nC,no\n', r"t\.csv:3: not readable as CSV"),
        ("t.csv", HEADER + 'A,yes\nB,"never closed\nC,no\n', r"t\.csv:3: .*is never closed"),
        ("t.csv", HEADER + 'A,yes\nB,"two\nlines",more\nC,no\n', r"t\.csv:3: 1 more fields"),
        ("t.csv", HEADER + "A,yes\nB,n\0o\nC,no\n", r"t\.csv:3: column 'chosen': holds a zero byte"),
        ("t.csv", HEADER.encode() + "A,yes\nB,schön\nC,no\n".encode("cp1252"), r"t\.csv:3: .*in Windows-1252 .*'ö'"),
        (
            "t.jsonl",
            '{"prompt": "A", "chosen": "yes"}\n{"prompt": "B", "prompt": "D"}\n',
            r"t\.jsonl:2: .*'prompt' twice",
        ),
        ("t.jsonl", '{"prompt": "A", "chosen": "yes"}\n{"prompt": "B", "n": NaN}\n', r"t\.jsonl:2: .*NaN is no JSON"),
        ("t.json", '[{"prompt": "A", "chosen": "yes"}, {"prompt": 1, "prompt": 2}]', r"t\.json: item 2: .*twice"),
    ],
)
def test_a_bad_row_has_its_line_and_the_others_are_read(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_rows(path, text_columns=["prompt", "chosen"])
    with pytest.warns(UserWarning, match="skipped 1 bad rows of"):
        rows = read_rows(path, text_columns=["prompt", "chosen"], on_bad_row="skip")
    expected = [{"prompt": "A", "chosen": "yes"}, {"prompt": "C", "chosen": "no"}]
    assert [dict(row.values) for row in rows] == expected[: len(rows)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "prompt,prompt\nA,B\n", "two columns are called 'prompt'"),
        (
            "t.jsonl",
            '[{"prompt": "A"},\n{"prompt": "B"}]',
            r"holds one JSON list, not an object a line; name it \.json",
        ),
        ("t.jsonl", json.dumps({"prompt": "A"}, indent=1), "JSON objects over several lines"),
        ("t.json", '{"prompt": "A"}', "expected a list of objects, got one object with 'prompt'"),
        ("t.json", '[{"prompt": "A"}, {"prompt": ', "not JSON: .* at line 1 column"),
        ("t.jsonl", b"\x1f\x8b\x08", "is compressed; unpack it first"),
        ("t.csv", b"PK\x03\x04", "ZIP archive, as spreadsheets are; save the table as CSV"),
        ("t.csv", b"PAR1", r"is a Parquet file; name it \.parquet"),
        ("t.jsonl", "version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
    ],
)
def test_a_file_of_another_kind_is_named(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_rows(path, text_columns=["prompt"], on_bad_row="skip")


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\nprompt;note\nA;x, y\n",
        ' prompt , note \nA,"x, y"\n',
        'prompt,note,,\nA,"x, y",,\n,,,\n',
        ',prompt,note\n0,A,"x, y"\n',
        'note,prompt\r"x, y",A\r',
    ],
)
def test_spreadsheets_have_their_ways(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content, newline="")
    assert read(tmp_path / "t.csv") == [{"prompt": "A", "note": "x, y"}]


def test_a_cell_may_be_long_or_hold_messages(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi, you"}]
    rows = [
        {"prompt": "A", "chosen": "word " * 50_000, "note": ""},
        {"prompt": json.dumps(messages), "chosen": "", "note": "[1]"},
    ]
    assert read(write_csv(tmp_path / "t.csv", rows)) == [rows[0], {"prompt": messages, "chosen": "", "note": "[1]"}]


def test_all_bad_rows_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"prompt": "" if row % 2 else "A"}) + "\n" for row in range(20)))
    with pytest.raises(InputError) as caught:
        PromptDataset.of(path)
    message = str(caught.value)
    assert "10 bad rows of 20" in message and "and 5 more" in message
    assert [f"t.jsonl:{line}:" in message for line in (2, 4, 6, 8, 10, 12)] == [True] * 5 + [False]


def test_an_empty_cell_of_csv_is_null_for_reward_functions_as_in_json(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("prompt,answer\nA,\nB,c\n")
    (tmp_path / "t.jsonl").write_text('{"prompt": "A", "answer": null}\n{"prompt": "B", "answer": "c"}\n')
    assert all(PromptDataset.of(tmp_path / name).columns == {"answer": [None, "c"]} for name in ("t.csv", "t.jsonl"))
