"""A number or a seed that cannot be, on the command line or in its YAML: one line, exit code 2, nothing written."""

from pathlib import Path

import pytest

from textrl_env.cli import TOOLS, main
from textrl_env.cli.stages import STAGES

# What a command needs before its options are looked at.
NEEDED = {
    "chat": ["run"],
    "generate": ["--policy", "a", "--prompts", "b", "--out", "c"],
    "raters": ["rows.jsonl"],
    "slices": ["--by", "a"],
    "balance": ["rows.jsonl", "--by", "a"],
}
COMMANDS = ["quickstart", *STAGES, *TOOLS]
WITHOUT_SEED = {"export-labels", "import-labels", "report", "lint"}


def message_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that ends with exit code 2 says."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    shown = capsys.readouterr()
    assert end.value.code == 2 and shown.out == ""
    return shown.err


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - WITHOUT_SEED))
@pytest.mark.parametrize("seed", ["-1", str(2**32), str(2**64)])
def test_a_seed_out_of_range_is_one_line_in_every_command(
    command: str, seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    message = message_of([command, *NEEDED.get(command, []), "--seed", seed], capsys)
    assert message == f"textrl: seed must be a whole number from 0 to 4294967295 (2**32 - 1), got {seed}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", ["1.5", "one", "1e3", "nan"])
def test_a_seed_that_is_no_whole_number_is_a_usage_error(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = message_of(["sft", "--seed", seed], capsys)
    assert "--seed" in message and seed in message and "Traceback" not in message


def test_every_command_has_a_seed_or_is_known_to_have_none() -> None:
    for command in WITHOUT_SEED:
        kind = TOOLS[command]
        assert "seed" not in kind.__dataclass_fields__, command


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308"])
@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        ("sft", "--learning-rate", "learning_rate"),
        ("reward-model", "--max-grad-norm", "max_grad_norm"),
        ("ppo", "--kl-coef", "kl_coef"),
        ("train", "--max-kl", "max_kl"),
        ("dpo", "--beta", "beta"),
        ("quickstart", "--ppo.gae-lambda", "ppo.gae_lambda"),
        ("ai-feedback", "--endpoint.timeout", "endpoint.timeout"),
        ("generate", "--temperature", "temperature"),
        ("balance", "--cap", "cap"),
        ("label", "--repeats", "repeats"),
        ("lint", "--similar", "similar"),
        ("report", "--limit.tilt", "limit.tilt"),
    ],
)
def test_a_rate_or_coefficient_that_is_not_finite_is_one_line_with_its_name(
    command: str, option: str, name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = {"report": ["rm", "run"], "lint": ["rows.jsonl"]}.get(command, NEEDED.get(command, []))
    if (name, value) == ("max_grad_norm", "inf"):
        return
    message = message_of([command, *needed, f"{option}={value}"], capsys)
    assert message.startswith(f"textrl: {name} must be ") and message.count("\n") == 1


def test_a_value_of_the_yaml_that_is_not_finite_is_named_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("ppo: {kl_coef: .inf}\n")
    message = message_of(["quickstart", "--config", str(tmp_path / "config.yaml")], capsys)
    assert "kl_coef must be finite" in message and message.count("\n") == 1
