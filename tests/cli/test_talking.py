"""`textrl chat` and `textrl generate`: lines in, completions out, and faults by their place."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents import small_llama, train_tokenizer
from textrl_env.agents.policy import ModelCard, export_policy
from textrl_env.cli import main

CARD = ModelCard(method="SFT", base="", data="", seed=0, command="")
TEMPLATE = "{% for m in messages %}<{{ m.content }}>{% endfor %}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models that complete texts, one of them in a run's policy/, and one with a chat template."""
    base = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(["hello world"], vocab_size=300)
    made = {"one": base / "one", "two": base / "run" / "policy", "chats": base / "chats"}
    for seed, (name, folder) in enumerate(made.items()):
        tokenizer.chat_template = TEMPLATE if name == "chats" else None
        model = small_llama(tokenizer, hidden_size=16, context=120, seed=seed)
        export_policy(folder, model, tokenizer, CARD, max_new_tokens=6)
    return made | {"two": base / "run"}


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(text: str, *arguments: object) -> str:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        main(["chat", *map(str, arguments)])
        return capsys.readouterr().out

    return run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_equal_seeds_give_equal_answers_and_lines_have_seeds_of_their_own(talk: Any, folders: Any) -> None:
    first = talk("hello\n\nhello\n", folders["one"])
    assert first == talk("hello\nhello\n", folders["one"]) != talk("hello\nhello\n", folders["one"], "--seed", 5)
    assert first.startswith(alone := talk("hello\n", folders["one"])) and first != 2 * alone
    assert alone.strip() and talk("hello\n/quit\nhello\n", folders["one"]) == alone
    cold = [talk("hello\n", folders["one"], "--temperature", 0, "--seed", seed) for seed in (1, 2)]
    assert cold[0] == cold[1]


def test_a_conversation_ends_with_the_context_and_says_so(
    talk: Any, folders: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    # 120 tokens of context: 118 letters and a BOS leave room for one token of an answer, two more leave none.
    talk("b" * 118, folders["one"])
    with pytest.raises(SystemExit):
        talk("b" * 120, folders["one"])
    message = capsys.readouterr().err
    assert "has 121 tokens and leaves no room for an answer in the context of 120; /new starts" in message
    assert "Traceback" not in message
    line = "b" * 50 + "\n"
    talk(line + "/new\n" + line, folders["chats"])
    with pytest.raises(SystemExit):
        talk(line * 3, folders["chats"])


@pytest.mark.parametrize("command", ["chat", "generate"])
def test_the_code_of_a_folder_is_not_run(
    command: str, folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, sprung = tmp_path / "evil", tmp_path / "sprung"
    shutil.copytree(folders["one"], folder)
    (folder / "evil.py").write_text(f"open({str(sprung)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    mapped = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": mapped}))
    (tmp_path / "prompts.txt").write_text("hello\n")
    # Asked at the terminal, a hasty user says yes.
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nhello\n"))
    options = {"chat": [], "generate": ["--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "out.jsonl"]}
    model = [folder] if command == "chat" else ["--policy", folder]
    with pytest.raises(SystemExit) as end:
        main([command, *map(str, [*model, *options[command]])])
    assert end.value.code == 2 and "code of its own, which is not run" in capsys.readouterr().err
    assert not sprung.exists()


def test_two_models_stand_side_by_side(talk: Any, folders: Any) -> None:
    shown = talk("hello\n", folders["one"], "--against", folders["two"], "--temperature", 0)
    assert max(map(len, shown.splitlines())) == 100
    cells = [line.split("│")[1:3] for line in shown.splitlines() if "│" in line]
    left, right = ("".join(cell.strip() for cell in column) for column in zip(*cells, strict=True))
    alone = [talk("hello\n", folders[name], "--temperature", 0) for name in ("one", "two")]
    assert left.split() == alone[0].split() and right.split() == alone[1].split() and left != right


def test_a_chat_template_makes_a_conversation_until_it_is_new(talk: Any, folders: Any) -> None:
    """At temperature 0 an answer depends on nothing but what was said before."""

    def answers(text: str, folder: str) -> list[str]:
        return talk(text, folders[folder], "--temperature", 0, "--max-new-tokens", 1).splitlines()

    same = answers("hello\nhello\n", "one")
    assert len(set(same)) == 1
    talked, afresh = answers("hello\nhello\nhello\n", "chats"), answers("hello\n/new\nhello\n/new\nhello\n", "chats")
    assert len(set(afresh)) == 1 and talked[0] == afresh[0] and len(set(talked)) > 1


def test_generate_writes_rows_for_trl(folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts, out = tmp_path / "p.jsonl", tmp_path / "deep" / "o.jsonl"
    prompts.write_text('{"prompt": "hello", "id": 1}\n{"prompt": "world wide", "id": 2}\n')
    options = ["--policy", str(folders["two"]), "--prompts", str(prompts), "--out", str(out), "--n", "3"]
    main(["generate", *options])
    assert f"6 completions of 2 prompts are in {out}" in capsys.readouterr().out
    found = rows(out)
    assert [(row["prompt"], row["id"]) for row in found] == [("hello", 1)] * 3 + [("world wide", 2)] * 3
    assert all(1 <= row["n_tokens"] <= 6 and row["finish_reason"] in ("eos", "length") for row in found)
    assert all(row["n_tokens"] == 6 for row in found if row["finish_reason"] == "length")
    assert len({row["completion"] for row in found}) > 2
    main(["generate", *options])
    assert rows(out) == found


def test_conversations_get_answers_in_messages(folders: Any, tmp_path: Path) -> None:
    prompts, out = tmp_path / "p.jsonl", tmp_path / "o.jsonl"
    messages = [{"role": "user", "content": "hello"}]
    prompts.write_text(json.dumps({"prompt": messages}) + "\n")
    main(["generate", "--policy", str(folders["chats"]), "--prompts", str(prompts), "--out", str(out)])
    (row,) = rows(out)
    assert row["prompt"] == messages and row["completion"][0].keys() == {"role", "content"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("chat nowhere", "nowhere: no such folder; expected a folder with config.json"),
        ("chat .", ".: no model here; expected a folder with config.json"),
        ("chat MODEL --against nowhere", "nowhere: no such folder"),
        ("chat MODEL --temperature -1", "temperature must be at least 0, got -1"),
        ("generate --policy nowhere --prompts good.txt --out o", "nowhere: no such folder"),
        ("generate --policy MODEL --prompts bad.jsonl --out o", "bad.jsonl:2: no column 'prompt' (found: 'question')"),
        ("generate --policy MODEL --prompts none.jsonl --out o", "none.jsonl: no such file"),
        ("generate --policy MODEL --prompts good.txt --out .", "out: .: is a folder, expected the file to write"),
        ("generate --policy MODEL --prompts good.txt --out o --n 0", "n must be at least 1, got 0"),
        ("generate --policy MODEL --prompts long.txt --out o", "long.txt:2: the prompt has"),
        ("generate --policy MODEL --prompts done.jsonl --out o", "done.jsonl: the column 'completion' would be over"),
        ("generate --policy MODEL --prompts talk.jsonl --out o", "talk.jsonl:1: the prompt is a list of messages, but"),
    ],
)
def test_faults_are_one_line_with_their_place(
    arguments: str, message: str, folders: Any, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.txt").write_text("hello\n")
    Path("long.txt").write_text("hello\n" + "x" * 200 + "\n")
    Path("bad.jsonl").write_text('{"prompt": "a"}\n{"question": "b"}\n')
    Path("done.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    Path("talk.jsonl").write_text('{"prompt": [{"role": "user", "content": "a"}]}\n')
    with pytest.raises(SystemExit) as end:
        main(arguments.replace("MODEL", str(folders["one"])).split())
    shown = capsys.readouterr().err
    assert end.value.code == 2 and shown.startswith(f"textrl: {message}") and shown.count("\n") == 1, shown
    assert not Path("o").exists()
