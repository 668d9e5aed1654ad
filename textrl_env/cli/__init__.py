"""The `textrl` command: one subcommand a stage of the pipeline."""

import sys
from collections.abc import Sequence
from typing import Annotated, Protocol

import tyro

from textrl_env.cli.evaluate import Evaluate
from textrl_env.cli.ppo import TrainPPO
from textrl_env.cli.preferences import CollectPreferences
from textrl_env.cli.quickstart import Quickstart
from textrl_env.cli.report import Report
from textrl_env.cli.reward_model import TrainRewardModel
from textrl_env.cli.sft import TrainSFT
from textrl_env.errors import InputError


class Command(Protocol):
    """A parsed subcommand."""

    def run(self) -> object: ...


Commands = (
    Annotated[Quickstart, tyro.conf.subcommand("quickstart")]
    | Annotated[TrainSFT, tyro.conf.subcommand("sft")]
    | Annotated[CollectPreferences, tyro.conf.subcommand("preferences")]
    | Annotated[TrainRewardModel, tyro.conf.subcommand("reward-model")]
    | Annotated[TrainPPO, tyro.conf.subcommand("ppo")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a subcommand; bad input ends with its message and exit code 2, Ctrl-C with exit code 130."""
    try:
        command: Command = tyro.cli(
            Commands,  # type: ignore[arg-type]
            prog="textrl",
            description="Reinforcement learning on text, from demonstrations to a report, stage by stage.",
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )
        command.run()
    except InputError as error:
        print(f"textrl: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("textrl: stopped", file=sys.stderr)
        raise SystemExit(130) from None
