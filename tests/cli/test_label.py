"""`textrl label` and its two companions, from prompts to a file that trains a reward model."""

import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from textrl_env.cli import main
from textrl_env.reward_models import RewardModel, read_preferences
from textrl_env.reward_models.feedback.store import Item, Store
from textrl_env.worlds import support_desk


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Types these lines, then the end of input."""
    left = iter(lines)

    def read(prompt: str = "") -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)


def test_from_prompts_to_preferences_in_the_terminal(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, database, out = tmp_path / "p.jsonl", tmp_path / "labels.db", tmp_path / "labels.jsonl"
    rows = support_desk.prompts(3, seed=0)
    prompts.write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in rows))
    arguments = ["label", "--prompts", str(prompts), "--policy", str(run_dir / "sft"), "--k", "3", "--terminal", "ada"]
    arguments += ["--database", str(database), "--max-new-tokens", "5"]
    answer(monkeypatch, "1", "2 # a comment", "t", "s", "1")
    main(arguments)
    shown = capsys.readouterr().out
    assert f"4 labels in {database}" in shown and "next: textrl export-labels --database" in shown
    items = Store(database).items
    assert 3 <= len(items) <= 9 and {item.prompt for item in items.values()} <= {row["prompt"] for row in rows}
    main(["export-labels", "--database", str(database), "--out", str(out)])
    assert f"3 rows of preferences in {out}; 1 ties left out" in capsys.readouterr().out
    read = read_preferences(out)
    assert len(read) == 3 and {item.prompt for item in items.values()} >= {preference.prompt for preference in read}
    answer(monkeypatch)
    main(arguments)
    assert "0 of them new" in capsys.readouterr().out, "the same command goes on where it was"
    assert len(Store(database).events()) == 5


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    path = tmp_path / "c.jsonl"
    rows = [{"prompt": f"p{n}", "completions": ["a", "b", "c"]} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_page_is_served_until_ctrl_c(completions: Path, tmp_path: Path) -> None:
    options = ["--completions", str(completions), "--task", "ranking", "--database", str(tmp_path / "l.db")]
    options += ["--port", "0", "--invite", "ada", "ben"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from textrl_env.cli import main; main()", "label", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(5)]
        links = dict(line.strip().split(": ", 1) for line in lines[1:4])
        assert set(links) == {"ada", "ben", "the dashboard"}, lines
        port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\?invite=\w+)", links["ada"]).groups()  # type: ignore[union-attr]
        connection = HTTPConnection("127.0.0.1", int(port), timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 303 and response.headers["Location"] == "/label"
        connection.request("GET", "/label", headers={"Cookie": response.headers["Set-Cookie"].partition(";")[0]})
        response.read()
        page = connection.getresponse().read().decode()
        assert 'data-task="ranking"' in page and page.count('class="card"') == 3
        connection.close()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and "0 labels in" in rest and "Traceback" not in rest


def test_what_reward_models_dispute_comes_first(
    run_dir: Path, completions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "labels.db"
    models = [str(run_dir / "reward_model"), str(tmp_path / "other")]
    RewardModel.from_pretrained(run_dir / "sft", seed=1).save_pretrained(models[1])  # With a head of chance.
    answer(monkeypatch)
    options = ["--completions", str(completions), "--database", str(database), "--terminal", "ada"]
    main(["label", *options, "--reward-models", *models])
    store = Store(database)
    values = list(store.disagreement.values())
    assert len(values) == 12 and all(0 <= value <= 0.5 for value in values) and len(set(values)) > 6


def test_every_form_of_export_and_back(
    completions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "labels.db"
    store = Store(database)
    store.add_items([Item("pair", "p", ("a", "b")), Item("ranking", "p", ("a", "b", "c")), Item("rating", "p", ("a",))])
    store.close()
    monkeypatch.setattr("textrl_env.reward_models.feedback.desk.terminal._read_answer", _any_answer)
    answer(monkeypatch, *["x"] * 3)
    main(["label", "--database", str(database), "--terminal", "ada"])
    for form in ("preferences", "rankings", "ratings", "log", "label-studio"):
        out = tmp_path / f"{form}.json"
        main(["export-labels", "--database", str(database), "--form", form, "--out", str(out)])
        assert f"rows of {form} in {out}" in capsys.readouterr().out.replace("\n", " ")
    export, other = tmp_path / "label-studio.json", ["--database", str(tmp_path / "label-studio.db")]
    for new in (3, 0):
        main(["import-labels", "--file", str(export), "--source", "label-studio", *other])
        assert f"3 answers in {export}, {new} of them new" in capsys.readouterr().out


def _any_answer(question: Any, line: str, seconds: float) -> dict[str, Any]:
    k = len(question.order)
    said = {"rating": 3} if question.item.task == "rating" else {"ranks": list(range(1, k + 1))}
    asked = {"item": question.key.item, "round": question.key.round, "revision": question.revision}
    return {**asked, "kind": "label", "seconds": 1.0, "submission": f"s-{question.key.item}", **said}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("label --database none.db", "none.db: not there yet; give --prompts and --policy, or --completions"),
        ("label --prompts p.jsonl", "prompts: say which model completes them"),
        ("label --k 1", "k must be at least 2, got 1"),
        ("label --overlap 0", "overlap must be at least 1, got 0"),
        ("label --repeats 1", "repeats must be in [0, 1), got 1.0"),
        ("label --completions none.jsonl", "none.jsonl: no such file"),
        ("label --completions bad.jsonl", "bad.jsonl:2: no column 'completions', 'completion' or 'chosen'"),
        ("label --prompts bad.jsonl --policy none", "none/config.json: not there yet; make it with: textrl sft"),
        ("label --database bad.jsonl", "bad.jsonl: is no SQLite database; it was left as it is"),
        ("label --completions c.jsonl --host 0.0.0.0", "host 0.0.0.0 lets other machines in: say who is invited"),
        ("label --completions c.jsonl --instructions none.md", "none.md: not readable as Markdown"),
        ("label --completions c.jsonl --reward-models a", "reward_models: two or more can disagree, or one that is"),
        ("label --completions c.jsonl --reward-models a b", "a/config.json: not there yet; make it with"),
        ("label --database empty.db", "empty.db: nothing to label in it"),
        ("label --completions c.jsonl --terminal \t", "terminal: a name has 1 to 40 printable characters"),
        ("export-labels --database none.db", "none.db: not there yet; make it with: textrl label"),
        ("import-labels --file bad.jsonl --source label-studio", "bad.jsonl:1: no column 'data'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: str,
    message: str,
    completions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "p", "completion": "a"}\n{"prompt": "p"}\n')
    before = (tmp_path / "bad.jsonl").read_bytes()
    Store(tmp_path / "empty.db").close()
    with pytest.raises(SystemExit) as end:
        main(arguments.split(" "))
    assert end.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert (tmp_path / "bad.jsonl").read_bytes() == before


def test_an_export_does_not_replace_its_database(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    Store(path).close()
    before = path.read_bytes()
    for out in (path, tmp_path / "." / "labels.db"):
        with pytest.raises(SystemExit):
            main(["export-labels", "--database", str(path), "--out", str(out)])
    with pytest.raises(SystemExit):
        main(["export-labels", "--database", str(path), "--out", str(tmp_path / "empty.jsonl")])
    assert path.read_bytes() == before and not (tmp_path / "empty.jsonl").exists()
