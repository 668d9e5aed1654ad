"""The `textrl` command: one subcommand a stage of the pipeline."""

import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, Protocol

import tyro

from textrl_env.cli.balance import Balance
from textrl_env.cli.config_file import find_config_files, read_config
from textrl_env.cli.doctor import Doctor
from textrl_env.cli.label import ExportLabels, ImportLabels, Label
from textrl_env.cli.lint import Lint
from textrl_env.cli.option_forms import OPTION_FORMS
from textrl_env.cli.quickstart import Quickstart, QuickstartHelp
from textrl_env.cli.raters import Raters
from textrl_env.cli.report import Report
from textrl_env.cli.sampling import Chat, Generate
from textrl_env.cli.slices import Slices
from textrl_env.cli.stages import STAGES, StageCommand
from textrl_env.errors import InputError
from textrl_env.pipeline import PolicyOptions
from textrl_env.pipeline.runs import StageStoppedError
from textrl_env.training.distributed import process_count, process_index

TOOLS = {
    "chat": Chat,
    "generate": Generate,
    "label": Label,
    "export-labels": ExportLabels,
    "import-labels": ImportLabels,
    "doctor": Doctor,
    "report": Report,
    "raters": Raters,
    "lint": Lint,
    "slices": Slices,
    "balance": Balance,
}
"""Name on the command line -> dataclass, of the commands that are no stage of a run."""


class Command(Protocol):
    """A parsed subcommand."""

    def run(self) -> None:
        """Does what the command is for, and prints what came of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a subcommand; bad input ends with its message and exit code 2, Ctrl-C with 130, SIGTERM with 143."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"textrl-env {version('textrl-env')}")
        return
    try:
        command = parse(arguments)
        if process_count() > 1:
            _require_trains_together(command)
        _quiet_transformers()
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command.run()
    except InputError as error:
        _exit(error, 2)
    except StageStoppedError as error:
        _exit(error, error.exit_code, is_silent=process_index() > 0)
    except KeyboardInterrupt:
        _exit("stopped", 130)


def parse(arguments: Sequence[str]) -> Command:
    """Returns the subcommand that the arguments name, with its options; files of `--config` give its defaults.

    Raises:
        InputError: a file or an option is wrong.
        SystemExit: `--help` was shown, or tyro named what is wrong.
    """
    defaults = default_commands()
    if {"-h", "--help"} & set(arguments):
        defaults["quickstart"] = QuickstartHelp()
    if arguments and arguments[0] in defaults:
        for file in find_config_files(arguments):
            defaults[arguments[0]] = read_config(defaults[arguments[0]], file)
    subcommands: Any = None
    for name, default in defaults.items():
        description = default.stage.__doc__ if isinstance(default, StageCommand) else None
        mark = tyro.conf.subcommand(name, default=default, description=description)
        subcommands = _join(subcommands, Annotated[type(default), mark])
    for name, tool in TOOLS.items():
        subcommands = _join(subcommands, Annotated[tool, tyro.conf.subcommand(name)])
    with OPTION_FORMS:
        command: Command = tyro.cli(
            subcommands,
            prog="textrl",
            description="Reinforcement learning on text, from demonstrations to a report, stage by stage.",
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )
    return command


def default_commands() -> dict[str, Any]:
    """Returns the commands that take `--config`, with their default options, in the order of the help."""
    return {"quickstart": Quickstart()} | {name: StageCommand(entry.options()) for name, entry in STAGES.items()}


def _join(union: Any, kind: Any) -> Any:
    return kind if union is None else union | kind


def _require_trains_together(command: Command) -> None:
    if not isinstance(command, StageCommand) or not isinstance(command.stage, PolicyOptions) or command.how.dry_run:
        raise InputError(
            f"{process_count()} processes were launched, and only `textrl ppo` and `textrl train` can use them; start "
            "everything else, and --dry-run, without a launcher"
        )


def _exit(message: object, code: int, *, is_silent: bool = False) -> None:
    if not is_silent:
        print(f"textrl: {message}", file=sys.stderr)
    raise SystemExit(code) from None


def _quiet_transformers() -> None:
    """Hides transformers' bars and reports of loaded weights, which would stand between the stages' own lines."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Prints a warning as a user of the command reads it: without the line of code it came from."""
    print(f"textrl: {message}", file=sys.stderr)
