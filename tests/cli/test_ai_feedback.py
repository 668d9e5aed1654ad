"""`textrl ai-feedback` and `textrl revise`, from a model's replies to labels, and what they say of bad input."""

import json
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents import train_tokenizer
from textrl_env.agents.policy import small_llama
from textrl_env.cli import main
from textrl_env.reward_models import read_preferences, write_preferences
from textrl_env.worlds import support_desk

SMALL = ["--n-prompts", "12", "--max-new-tokens", "12"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def random_model(folder: Path, *, context: int) -> Path:
    """A model that knows the support desk's words, and nothing about them."""
    texts = [row["prompt"] + row["completion"] for row in support_desk.demonstrations(200, seed=0)]
    tokenizer = train_tokenizer(texts, vocab_size=400)
    small_llama(tokenizer, hidden_size=16, layers=1, context=context, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with an SFT model."""
    random_model(tmp_path / "run" / "sft", context=256)
    return tmp_path / "run"


@pytest.fixture(scope="module")
def human(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People who know what is good, with a column to slice by."""
    rows = []
    for number, row in enumerate(support_desk.demonstrations(40, seed=5)):
        good = " Hello, thank you for writing. Have a nice day."
        rows.append({"prompt": row["prompt"], "chosen": good, "rejected": " You are an idiot.", "half": number % 2})
    return write_preferences(tmp_path_factory.mktemp("human") / "human.jsonl", rows)


def test_rules_label_agree_and_mix(run: Path, human: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "ai-feedback",
            "--run-dir",
            str(run),
            "--human",
            str(human),
            "--slices",
            "half",
            "--ai-weight",
            "0.5",
            "--principles-per-pair",
            "5",
            "--k",
            "3",
            *SMALL,
        ]
    )
    shown = " ".join(capsys.readouterr().out.split())
    out = run / "ai_feedback"
    labels, log = rows_of(out / "preferences.jsonl"), rows_of(out / "log.jsonl")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n_pairs"] == 36 and metrics["n_labels"] == len(labels) == 36 - metrics["n_undecided"]
    assert len(log) == 5 * (36 + 40) and {line["annotator"] for line in log} == {"rules"}
    slices = {(row["column"], row["value"]): row for row in metrics["slices"]}
    assert [row["n"] for row in slices.values()] == [40, 20, 20, *[40] * 5]
    assert slices["all", ""]["accuracy"]["value"] == 1 and slices["principle", "honest"]["accuracy"]["value"] == 0.5
    assert metrics["bias"]["first"]["value"] == 0.5 and metrics["bias"]["flipped"]["value"] == 0
    mixed = rows_of(out / "mixed.jsonl")
    assert [row["weight"] for row in mixed] == [1.0] * 40 + [0.5] * len(labels)
    assert len(read_preferences(out / "mixed.jsonl")) == len(mixed)
    assert "principle polite 40" in shown and f"next: textrl reward-model --run-dir {run}" in shown


def test_a_model_judges_and_revises(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replies = run / "replies.jsonl"
    pairs = [{"prompt": f"q{n}", "completions": [" Hello.", " Go away."]} for n in range(3)]
    write_preferences(replies, pairs)
    constitution = run / "c.txt"
    constitution.write_text("Be kind.\nBe short.\n")
    judge = random_model(run / "judge", context=2048)
    options = ["--judge", str(judge), "--constitution", str(constitution), "--run-dir", str(run)]
    main(["ai-feedback", *options, "--completions", str(replies)])
    log = rows_of(run / "ai_feedback" / "log.jsonl")
    assert len(log) == 3 and {line["annotator"] for line in log} == {"judge"}
    assert all(0 < line["forward"] < 1 for line in log) and log[0]["principle"] in ("principle-1", "principle-2")
    write_preferences(replies, [{"prompt": f"q{n}", "completion": " Go away."} for n in range(3)])
    main(["revise", *options, "--completions", str(replies), "--n-revisions", "2", "--max-written-tokens", "9"])
    assert len(rows_of(run / "revisions" / "log.jsonl")) == 6
    assert len(rows_of(run / "revisions" / "demonstrations.jsonl")) == 3
    assert f"next: textrl sft --model {run}/sft" in capsys.readouterr().out


def test_revisions_are_what_sft_reads(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["revise", "--run-dir", str(run), *SMALL])
    again = run.with_name("run-revised")
    demonstrations = str(run / "revisions" / "demonstrations.jsonl")
    assert f"--demonstrations {demonstrations} --run-dir {again}" in capsys.readouterr().out
    main(
        [
            "sft",
            "--model",
            str(run / "sft"),
            "--demonstrations",
            demonstrations,
            "--run-dir",
            str(again),
            "--n-steps",
            "2",
        ]
    )
    assert (again / "sft" / "config.json").is_file()
    rows = rows_of(run / "revisions" / "preferences.jsonl")
    assert rows and len(read_preferences(run / "revisions" / "preferences.jsonl")) == len(rows)
    assert all(len(row["principles"]) == len(row["critiques"]) == 4 for row in rows)


class Endpoint(BaseHTTPRequestHandler):
    """Always names the first reply."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"choices": [{"message": {"content": "A"}}]}')

    def log_message(self, *_: Any) -> None:
        pass


def test_an_endpoint_that_always_names_the_first_is_seen_through(
    human: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        main(
            [
                "ai-feedback",
                "--run-dir",
                str(tmp_path),
                "--judge",
                f"http://127.0.0.1:{server.server_port}/v1",
                "--endpoint.model",
                "tiny",
                "--human",
                str(human),
                "--n-prompts",
                "0",
            ]
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    metrics = json.loads((tmp_path / "ai_feedback" / "metrics.json").read_text())
    assert metrics["bias"]["first"]["value"] == 1 and metrics["bias"]["flipped"]["value"] == 1
    assert metrics["slices"][0]["accuracy"]["value"] == 0.5 and not (tmp_path / "ai_feedback" / "mixed.jsonl").exists()
    assert "shown first is better with probability 1.00" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_keeps_the_answers_and_the_same_command_goes_on(human: Path, tmp_path: Path) -> None:
    """The endpoint interrupts the command at its tenth question."""
    asked: list[int] = []
    process: subprocess.Popen[str]

    class Interrupting(Endpoint):
        def do_POST(self) -> None:
            asked.append(1)
            if len(asked) == 10:
                process.send_signal(signal.SIGINT)
            super().do_POST()

    server = HTTPServer(("127.0.0.1", 0), Interrupting)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    command = [
        str(Path(sys.executable).with_name("textrl")),
        "ai-feedback",
        "--run-dir",
        str(tmp_path),
        "--n-prompts",
        "0",
        "--judge",
        f"http://127.0.0.1:{server.server_port}/v1",
        "--endpoint.model",
        "tiny",
        "--human",
        str(human),
    ]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = process.communicate(timeout=120)[1]
        log = tmp_path / "ai_feedback" / "log.jsonl"
        assert process.returncode == 130 and f"the answers so far are in {log}" in " ".join(said.split())
        kept, before = len(log.read_text().splitlines()), len(asked)
        assert 4 <= kept < 40 and not (tmp_path / "ai_feedback" / "metrics.json").exists()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.communicate(timeout=120)
        assert process.returncode == 0 and len(asked) - before == 2 * (40 - kept)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["ai-feedback", "--judge", "gpt"], "judge: expected 'rules', a causal LM's folder"),
        (["ai-feedback", "--judge", "http://x/v1"], "endpoint.model: which of the endpoint's models"),
        (["ai-feedback", "--k", "1"], "k must be at least 2, got 1"),
        (["ai-feedback", "--principles-per-pair", "6"], "principles_per_pair must be 1 to 5, the number of principles"),
        (["ai-feedback", "--slices", "topic"], "slices: these are columns of the file that --human names"),
        (["ai-feedback", "--ai-weight", "-1"], "ai_weight must be at least 0, got -1"),
        (["ai-feedback", "--n-prompts", "0"], "n_prompts: with 0 there is nothing to judge"),
        (["ai-feedback"], "make it with: textrl sft"),
        (["ai-feedback", "--constitution", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["ai-feedback", "--human", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["revise", "--n-revisions", "0"], "n_revisions must be at least 1, got 0"),
        (["revise", "--judge", "gpt"], "judge: expected 'rules', a causal LM's folder"),
        (["revise", "--max-written-tokens", "0"], "max_written_tokens must be at least 1"),
        (["revise", "--completions", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_bad_options_end_in_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*options, "--run-dir", str(tmp_path / "run")])
    message = capsys.readouterr().err
    assert end.value.code == 2 and said in message and message.count("\n") == 1


def test_a_principle_without_a_rule_needs_a_model(
    human: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.txt").write_text("Be kind.\n")
    with pytest.raises(SystemExit):
        main(
            [
                "ai-feedback",
                "--constitution",
                str(tmp_path / "c.txt"),
                "--human",
                str(human),
                "--n-prompts",
                "0",
                "--run-dir",
                str(tmp_path),
            ]
        )
    assert "the principle 'principle-1' has no rule" in capsys.readouterr().err
