"""Options from YAML: they read back as written, the command line wins, and faults are named with file and key."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import tyro
import yaml

from textrl_env.cli import main, make_default
from textrl_env.cli.config_file import as_yaml, read_config
from textrl_env.errors import InputError

STAGES = ["quickstart", "sft", "preferences", "reward-model", "ppo", "evaluate"]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `textrl` prints for some arguments and --print-config."""

    def run(*arguments: str) -> str:
        main([*arguments, "--print-config"])
        return capsys.readouterr().out

    return run


@dataclass(frozen=True)
class Group:
    """A group of options."""

    rate: float = 1e-5
    """Small, so that YAML writes it with an exponent."""


@dataclass(frozen=True)
class Every:
    """One option of every kind."""

    group: Group
    """Nested."""
    number: int = 1
    flag: bool = False
    text: str = "it's: a #text"
    kind: Literal["a", "b"] = "a"
    maybe: int | None = None
    file: Path | None = None
    names: tuple[str, ...] = ("x", "y z")


def parsed(file: Path) -> Every:
    """The options in a file, by way of the command line."""
    return tyro.cli(Every, args=[], default=read_config(Every(Group()), file))


@pytest.mark.parametrize("stage", STAGES)
def test_a_printed_config_reads_back_as_it_was(stage: str, printed: Any, tmp_path: Path) -> None:
    first = printed(stage, "--seed", "7")
    (tmp_path / "config.yaml").write_text(first)
    assert yaml.safe_load(first)["seed"] == 7
    assert printed(stage, "--config", str(tmp_path / "config.yaml")) == first


def test_every_kind_of_option_survives(tmp_path: Path) -> None:
    file = tmp_path / "every.yaml"
    for changed in (
        Every(Group()),
        Every(Group(3.0), -4, True, "null", "b", 5, Path("a b/c.txt"), ("one",)),
        Every(Group(1e-9), 0, False, "", "a", None, None, ()),
    ):
        file.write_text(as_yaml(changed))
        assert yaml.safe_load(file.read_text())["group"] == {"rate": changed.group.rate}
        assert parsed(file) == changed


def test_the_command_line_wins_and_a_later_file_wins_over_an_earlier(printed: Any, tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    # 1e-3 without a point is a text to YAML; dashes are fine too.
    one.write_text("learning-rate: 1e-3\nn_steps: 5\nbatch_size: 8\n")
    two.write_text("n_steps: 6\n")
    found = yaml.safe_load(printed("sft", "--batch-size", "2", "--config", str(one), f"--config={two}"))
    assert (found["learning_rate"], found["n_steps"], found["batch_size"]) == (0.001, 6, 2)


@pytest.mark.parametrize(
    ("stage", "text", "message"),
    [
        ("sft", "n_stps: 3", "no option 'n_stps'; did you mean 'n_steps'"),
        ("sft", "n_steps: 3.5", "n_steps must be a whole number, got 3.5"),
        ("sft", "n_steps: true", "n_steps must be a whole number, got True"),
        ("sft", "learning_rate: fast", "learning_rate must be a number, got 'fast'"),
        ("sft", "on_bad_row: stop", "on_bad_row must be one of 'error', 'skip', got 'stop'"),
        ("ppo", "policy: 3", "policy must be a path or null, got 3"),
        ("ppo", "max_kl: [1]", r"max_kl must be a number or null, got \[1\]"),
        ("quickstart", "sft: {n_steps: x}", "sft.n_steps must be a whole number, got 'x'"),
        ("quickstart", "sft: {n_step: 1}", "no option 'sft.n_step'; did you mean 'sft.n_steps'"),
        ("sft", "config: other.yaml", "no option 'config'"),
        ("sft", "zzzzz: 1", "no option 'zzzzz'; options are demonstrations, model, "),
        ("sft", "- 3", r"expected options and values, .* got a list"),
        ("sft", "a: [", "not YAML: "),
        ("sft", "n_steps: !!python/object/apply:os.getcwd []", "python/object/apply:os.getcwd' is no tag of options"),
        ("sft", None, "cannot read the config"),
    ],
)
def test_faults_name_file_and_key(
    stage: str, text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_config(make_default(stage), file)
    assert str(raised.value).startswith(f"{file}:") and "\n" not in str(raised.value)
    with pytest.raises(SystemExit) as end:
        main([stage, "--config", str(file)])
    assert end.value.code == 2 and capsys.readouterr().err == f"textrl: {raised.value}\n"


def test_a_value_that_its_dataclass_refuses_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("n_steps: 0\n")
    with pytest.raises(SystemExit) as end:
        main(["sft", "--config", str(tmp_path / "config.yaml")])
    assert end.value.code == 2 and "n_steps must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("n_steps: 1\nbatch_size: 2\nn_steps: 3\n", 3, "n_steps is given twice, first in line 1"),
        ("n_steps: 1\nn-steps: 1\n", 2, "n_steps is given twice, first in line 1"),
        ("sft:\n  n_steps: 1\n  n_steps: 1\n", 3, "sft.n_steps is given twice, first in line 2"),
        ("sft: {n_steps: 1}\nppo: {}\nsft: {batch_size: 2}\n", 3, "sft is given twice, first in line 1"),
        ("sft: {n_steps: 1}\nsft.n_steps: 2\n", 2, "sft.n_steps is given twice, first in line 1"),
        ("seed: 1\nn_stps: 3\n", 2, "no option 'n_stps'"),
        ("seed: 1\n\nsft:\n  n_steps: x\n", 4, "sft.n_steps must be a whole number, got 'x'"),
        ("seed: 1\nsft: {n_steps: 0}\n", 2, "n_steps must be at least 1, got 0"),
        ("seed: 1\nppo: {kl_coef: .nan}\n", 2, "kl_coef must be at least 0, got nan"),
        ("seed: 1\nppo:\n  learning_rate: -.inf\n", 3, "learning_rate must be above 0, got -inf"),
        ("seed: -1\n", 1, "seed must be a whole number from 0 to 4294967295"),
        ("seed: 010\n", 1, "seed: YAML reads 010 to base 8 or 60"),
        ("seed: 1:30\n", 1, "seed: YAML reads 1:30 to base 8 or 60"),
        (f"seed: {'9' * 5000}\n", 1, "seed: '9999"),
        ("seed: 2020-13-45\n", 1, "seed: '2020-13-45' cannot be read"),
        ("seed: '7'\n", 1, "seed must be a whole number, got '7'"),
        ("seed: 1\nsft:\n\tn_steps: 1\n", 3, "not YAML: while scanning for the next token, found character"),
        ("seed: 1\n---\nseed: 2\n", 2, "not YAML: expected a single document in the stream"),
        ("seed: 1\nsft: &a\n  b: *a\n", 2, "an alias (*name) can stand for a single value only"),
        ("sft: &a {n_steps: 1}\nppo: *a\n", 1, "an alias (*name) can stand for a single value only"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", 1, "an alias (*name) can stand for a single value only"),
        ("seed: &a [*a]\n", 1, "an alias (*name) can stand for a single value only"),
        ("sft:\n  <<: {n_steps: 1}\n", 2, "expected an option's name before the colon"),
        ("? [a]\n: 1\n", 1, "expected an option's name before the colon"),
        ("seed: 1\nout: !!python/name:os.system\n", 2, "not YAML: could not determine a constructor"),
        ("seed: 1\nsft: !!python/object:os.Thing {a: 1}\n", 2, "is no tag of options; write plain values"),
        ("seed: 1\nsft: !!set {a}\n", 2, "is no tag of options; write plain values"),
        ("seed: 1\nout: \x07\n", 2, "not YAML: "),
    ],
)
def test_faults_name_the_line(
    text: str, line: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    stage = "sft" if text.startswith("n") else "quickstart"
    with pytest.raises(SystemExit) as end:
        main([stage, "--config", str(file)])
    shown = capsys.readouterr().err
    assert end.value.code == 2 and shown.startswith(f"textrl: {file}:{line}: ") and message in shown
    assert shown.count("\n") == 1 and len(shown) < 400


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"seed: 1\nout: caf\xe9\n", ":2: not YAML: its text is not UTF-8"),
        ("seed: 1\n".encode("utf-16"), ":1: not YAML: its text is not UTF-8"),
        (b"seed: " + b"[" * 3000, "nested too deep"),
        (b"x" * 1_000_001, "got more than 1000000 bytes"),
        (b"", "got nothing"),
        (b"seed\n", "got 'seed'"),
        (b"- " + b"a" * 200, "got a list"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_config(make_default("sft"), tmp_path / "config.yaml")
    assert message in str(raised.value) and len(str(raised.value)) < 300


def test_an_alias_of_a_value_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("\ufeffnumber: &n 3\nmaybe: *n\ngroup: {rate: 0x10}\n", encoding="utf-8")
    every = read_config(Every(Group()), tmp_path / "config.yaml")
    assert (every.number, every.maybe, every.group.rate) == (3, 3, 16.0)
