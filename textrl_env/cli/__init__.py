"""The `textrl` command: one subcommand a stage of the pipeline."""

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from functools import reduce
from importlib.metadata import version
from operator import or_
from typing import Annotated, Any, Protocol

import tyro

from textrl_env.cli.balance import Balance
from textrl_env.cli.config_file import RunOptions, find_config_files, read_config
from textrl_env.cli.doctor import Doctor
from textrl_env.cli.label import ExportLabels, ImportLabels, Label
from textrl_env.cli.lint import Lint
from textrl_env.cli.option_forms import OPTION_FORMS, Refusal
from textrl_env.cli.quickstart import Quickstart, QuickstartHelp
from textrl_env.cli.raters import Raters
from textrl_env.cli.report import Report
from textrl_env.cli.sampling import Chat, Generate
from textrl_env.cli.slices import Slices
from textrl_env.cli.stages import STAGES, StageCommand
from textrl_env.data.rows import SKIP_HINT
from textrl_env.errors import InputError
from textrl_env.pipeline import PolicyOptions
from textrl_env.pipeline.option_paths import check_paths, describe_file_error
from textrl_env.pipeline.runs import StageStoppedError
from textrl_env.training.distributed import process_count, process_index

DESCRIPTION = "Reinforcement learning on text, from demonstrations to a report, stage by stage."
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
    command: Command | None = None
    try:
        command = parse(arguments)
        check_paths(command, only_reads=_only_reads(command))
        if process_count() > 1:
            _require_trains_together(command)
        _quiet_transformers()
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command.run()
        sys.stdout.flush()
    except InputError as error:
        _exit(str(error).replace(SKIP_HINT, "--on-bad-row skip"), 2)
    except StageStoppedError as error:
        _exit(error, error.exit_code, is_silent=process_index() > 0)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has enough; Python would complain once more at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        line = command and describe_file_error(error, command)
        if line is None:
            raise
        _exit(line, 2)
    except KeyboardInterrupt:
        _exit("stopped", 130)


def parse(arguments: Sequence[str]) -> Command:
    """Returns the command that the arguments name, with its options; files of `--config` give its defaults.

    Raises:
        InputError: a file or an option is wrong.
        SystemExit: `--help` was shown, or tyro named what is wrong.
    """
    name, *options = arguments or [""]
    if name in TOOLS:
        return _parse_with_tyro(TOOLS[name], name, options)
    if name == "quickstart" or name in STAGES:
        default = make_default(name)
        if {"-h", "--help"} & set(options) and name == "quickstart":
            default = QuickstartHelp()
        for file in find_config_files(options):
            default = read_config(default, file)
        return _parse_with_tyro(type(default), name, options, default=default)
    kinds = {"quickstart": Quickstart} | {name: entry.options for name, entry in STAGES.items()} | TOOLS
    subcommands = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items()]
    return _parse_with_tyro(reduce(or_, subcommands), "", arguments)


def make_default(name: str) -> Any:
    """Returns a command that takes `--config` with its default options."""
    return Quickstart() if name == "quickstart" else StageCommand(STAGES[name].options())


def _parse_with_tyro(kind: Any, name: str, arguments: Sequence[str], **default: Any) -> Command:
    options = STAGES[name].options if name in STAGES else kind
    with OPTION_FORMS:
        command: Command | Refusal = tyro.cli(
            kind,
            prog=f"textrl {name}".rstrip(),
            description=options.__doc__ if name else DESCRIPTION,
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes,),
            **default,
        )
    if isinstance(command, Refusal):
        raise InputError(command.message)
    return command


def _only_reads(command: Command) -> bool:
    how = getattr(command, "how", None)
    return isinstance(how, RunOptions) and (how.print_config or how.dry_run)


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
