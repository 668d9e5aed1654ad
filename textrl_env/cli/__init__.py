"""The `textrl` command: one subcommand a stage of the pipeline."""

import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, Protocol, get_args

import tyro

from textrl_env.cli.ai_feedback import CollectAIFeedback
from textrl_env.cli.balance import Balance
from textrl_env.cli.chat import Chat
from textrl_env.cli.config_file import with_config_files
from textrl_env.cli.doctor.command import Doctor
from textrl_env.cli.dpo import TrainDPO
from textrl_env.cli.evaluate import Evaluate
from textrl_env.cli.generate import Generate
from textrl_env.cli.label import ExportLabels, ImportLabels, Label
from textrl_env.cli.lint import Lint
from textrl_env.cli.on_policy import TrainOnPolicy
from textrl_env.cli.ppo import TrainPPO
from textrl_env.cli.preferences import CollectPreferences
from textrl_env.cli.quickstart import Quickstart, QuickstartHelp
from textrl_env.cli.raters import Raters
from textrl_env.cli.report import Report
from textrl_env.cli.revise import Revise
from textrl_env.cli.reward_model import TrainRewardModel
from textrl_env.cli.sft import TrainSFT
from textrl_env.cli.slices import Slices
from textrl_env.cli.stage import InRun, Stopped
from textrl_env.cli.train import TrainPolicy
from textrl_env.errors import InputError
from textrl_env.training.distributed import process_count, process_index


class Command(Protocol):
    """A parsed subcommand."""

    def run(self) -> None: ...


def _stage(name: str, stage: Any) -> Any:
    return Annotated[InRun[stage], tyro.conf.subcommand(name, description=stage.__doc__)]


def _commands(quickstart: Any = Quickstart) -> Any:
    """The subcommands, in the order of the help."""
    return (
        Annotated[quickstart, tyro.conf.subcommand("quickstart")]
        | _stage("sft", TrainSFT)
        | _stage("preferences", CollectPreferences)
        | _stage("ai-feedback", CollectAIFeedback)
        | _stage("revise", Revise)
        | _stage("reward-model", TrainRewardModel)
        | _stage("ppo", TrainPPO)
        | _stage("train", TrainPolicy)
        | _stage("dpo", TrainDPO)
        | _stage("evaluate", Evaluate)
        | Annotated[Chat, tyro.conf.subcommand("chat")]
        | Annotated[Generate, tyro.conf.subcommand("generate")]
        | Annotated[Label, tyro.conf.subcommand("label")]
        | Annotated[ExportLabels, tyro.conf.subcommand("export-labels")]
        | Annotated[ImportLabels, tyro.conf.subcommand("import-labels")]
        | Annotated[Doctor, tyro.conf.subcommand("doctor")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Raters, tyro.conf.subcommand("raters")]
        | Annotated[Lint, tyro.conf.subcommand("lint")]
        | Annotated[Slices, tyro.conf.subcommand("slices")]
        | Annotated[Balance, tyro.conf.subcommand("balance")]
    )


def _by_name(commands: Any) -> dict[str, Any]:
    """The dataclass of each subcommand."""
    pairs = (get_args(each)[:2] for each in get_args(commands))
    return {subcommand.name: command for command, subcommand in pairs}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a subcommand; bad input ends with its message and exit code 2, Ctrl-C with 130, SIGTERM with 143."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"textrl-env {version('textrl-env')}")
        return
    try:
        command: Command = tyro.cli(
            _commands(QuickstartHelp if {"-h", "--help"} & set(arguments) else Quickstart),
            prog="textrl",
            description="Reinforcement learning on text, from demonstrations to a report, stage by stage.",
            args=with_config_files(arguments, _by_name(_commands())),
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )
        if process_count() > 1:
            _require_trains_together(command)
        _quiet_transformers()
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command.run()
    except InputError as error:
        _exit(error, 2)
    except Stopped as error:
        _exit(error, error.exit_code, says=process_index() == 0)
    except KeyboardInterrupt:
        _exit("stopped", 130)


def _require_trains_together(command: Command) -> None:
    if not (isinstance(command, InRun) and isinstance(command.stage, TrainOnPolicy)) or command.how.dry_run:
        raise InputError(
            f"{process_count()} processes were launched, and only `textrl ppo` and `textrl train` can use them; start "
            "everything else, and --dry-run, without a launcher"
        )


def _exit(message: object, code: int, *, says: bool = True) -> None:
    if says:
        print(f"textrl: {message}", file=sys.stderr)
    raise SystemExit(code) from None


def _quiet_transformers() -> None:
    """No bars and reports of loaded weights between the stages' own lines."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a user of the command reads it: without the line of code it came from."""
    print(f"textrl: {message}", file=sys.stderr)
