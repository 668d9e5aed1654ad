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
        ("sft", "- 3", r"expected options and values, .* got \[3\]"),
        ("sft", "a: [", "not YAML: "),
        ("sft", "n_steps: !!python/object/apply:os.getcwd []", "not YAML: could not determine a constructor"),
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
    assert str(raised.value).startswith(f"{file}: ") and "\n" not in str(raised.value)
    with pytest.raises(SystemExit) as end:
        main([stage, "--config", str(file)])
    assert end.value.code == 2 and capsys.readouterr().err == f"textrl: {raised.value}\n"


def test_a_value_that_its_dataclass_refuses_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("n_steps: 0\n")
    with pytest.raises(SystemExit) as end:
        main(["sft", "--config", str(tmp_path / "config.yaml")])
    assert end.value.code == 2 and "n_steps must be at least 1, got 0" in capsys.readouterr().err
