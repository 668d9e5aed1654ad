"""Every command that loads a model, with folders that a stranger made: one line, exit code 2, and nothing runs."""

import io
import json
import shutil
from pathlib import Path

import pytest
from hostile_folders import HOSTILE, write_clean

from textrl_env.cli import main

COMMANDS = {
    "chat": "chat LM",
    "chat, against": "chat CLEAN --against LM",
    "generate": "generate --policy LM --prompts prompts.jsonl --out out.jsonl",
    "sft": "sft --run-dir run --model LM --demonstrations demonstrations.jsonl --n-steps 1",
    "reward-model": "reward-model --run-dir run --model LM --preferences preferences.jsonl",
    "dpo": "dpo --run-dir run --policy LM --preferences preferences.jsonl --n-steps 1",
    "ppo": "ppo --run-dir run --policy LM --reward-model JUDGE --prompts prompts.jsonl",
    "ppo, reward model": "ppo --run-dir run --policy CLEAN --reward-model RM --prompts prompts.jsonl",
    "ppo, critic": "ppo --run-dir run --policy CLEAN --reward-model JUDGE --critic-from RM --prompts prompts.jsonl",
    "train": "train --algorithm rloo --run-dir run --policy LM --reward-model JUDGE --prompts prompts.jsonl",
    "evaluate": "evaluate --run-dir run --policy LM --reference CLEAN --reward-model JUDGE --prompts prompts.jsonl",
    "evaluate, reward model": "evaluate --policy CLEAN --reference CLEAN --reward-model RM --prompts prompts.jsonl",
    "report rm": "report rm RM --preferences preferences.jsonl --n-prompts 0",
    "slices": "slices --by prompt --reward-model RM --preferences preferences.jsonl --heldout preferences.jsonl",
    "doctor": "doctor --policy LM --reward-model JUDGE --prompts prompts.jsonl",
    "doctor, reward model": "doctor --policy CLEAN --reward-model RM --prompts prompts.jsonl",
    "label": "label --prompts prompts.jsonl --policy LM --database labels.db --terminal me",
    "label, reward model": "label --completions preferences.jsonl --reward-models RM JUDGE --terminal me",
    "ai-feedback": "ai-feedback --run-dir run --judge LM --completions preferences.jsonl",
    "revise": "revise --run-dir run --judge LM --completions demonstrations.jsonl",
    "lint": "lint preferences.jsonl --tokenizer LM",
}
ALWAYS = ("code of its own", "a tokenizer's code", "NaN", "more tokens than embeddings")


def cases() -> list[tuple[str, str]]:
    """Every hostile folder with one command at least, and some folders with all commands."""
    rest = [name for name in HOSTILE if name not in ALWAYS]
    shares = {command: rest[index :: len(COMMANDS)] for index, command in enumerate(COMMANDS)}
    pairs = [(command, name) for command, share in shares.items() for name in (*ALWAYS, *share)]
    # A reward model is not sampled; the linter needs the tokenizer alone.
    return [
        (command, name)
        for command, name in pairs
        if not (name.startswith("settings of sampling") and "RM" in COMMANDS[command])
        and (command != "lint" or ("token" in name and "embeddings" not in name))
    ]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_clean(tmp_path_factory.mktemp("clean"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = {
        "prompts": {"prompt": "hello"},
        "demonstrations": {"prompt": "hello", "completion": " world"},
        "preferences": {"prompt": "hello", "chosen": " world", "rejected": " hello"},
    }
    for name, row in rows.items():
        lines = [json.dumps(row | {"prompt": f"hello {index}"}) for index in range(8)]
        Path(f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize(("command", "name"), cases())
def test_a_command_refuses_a_folder_and_asks_nothing(
    command: str,
    name: str,
    clean: dict[str, Path],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change, _ = HOSTILE[name]
    words = COMMANDS[command].split()
    folders = {"LM": place / "lm", "RM": place / "rm", "CLEAN": clean["lm"], "JUDGE": clean["rm"]}
    for kind in {"LM", "RM"} & set(words):
        shutil.copytree(clean[kind.lower()], folders[kind])
        change(folders[kind], place / "canary")
    # transformers would take the first line for the answer to its question whether to run the code.
    monkeypatch.setattr("sys.stdin", io.StringIO("1\ny\n/quit\n"))
    with pytest.raises(SystemExit) as end:
        main([str(folders.get(word, word)) for word in words])
    shown = capsys.readouterr()
    print(shown.err)
    assert not (place / "canary").exists()
    assert "Traceback" not in shown.err + shown.out
    # The doctor examines further what it could read, and fails the check.
    assert end.value.code in ((1, 2) if command.startswith("doctor") else (2,))
    hostile = next(str(folders[kind]) for kind in ("LM", "RM") if kind in words)
    assert command.startswith("doctor") or hostile in shown.err.replace("\n", "")
