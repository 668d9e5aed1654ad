"""The callbacks of on-policy training: evaluation on held-out prompts, samples, alarms, the verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textrl_env.data import PromptSource
from textrl_env.mdp import RewardCallable

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback


def build_callbacks(
    gold: RewardCallable | None,
    heldout: PromptSource | None,
    *,
    best: Path,
    export: Callable[[Any, Path], None],
    every: int,
    max_kl: float | None,
    seed: int,
) -> "list[BaseCallback]":
    """Returns callbacks in the order in which they need each other.

    Args:
        gold: the world's gold reward, where there is one.
        heldout: prompts to evaluate on and to choose the best policy by; without them neither is done.
        best: folder of the best policy.
        export: writes a policy to a folder.
        every: updates between evaluations, samples and verdicts.
        max_kl: ends training, in nats; None does not.
        seed: of the evaluation.
    """
    from textrl_env.agents.callbacks import (
        EvaluateOnPrompts,
        HackingAlarm,
        KeepBest,
        LogSamples,
        SayVerdict,
        ShowProgress,
        StopOnKL,
        TrackReward,
    )

    callbacks: list[BaseCallback] = [ShowProgress(), LogSamples(every), SayVerdict(every)]
    if gold is not None:
        callbacks += [TrackReward("gold", gold), HackingAlarm()]
    if heldout is not None:
        judges = {} if gold is None else {"gold": gold}
        # The best by the objective, not by gold: a run must not choose by what it is judged by.
        callbacks += [
            EvaluateOnPrompts(heldout, judges, every_updates=every, seed=seed),
            KeepBest(best, export=export),
        ]
        if gold is None:
            callbacks.append(HackingAlarm("eval/score", window=8))
    if max_kl is not None:
        callbacks.append(StopOnKL(max_kl))
    return callbacks
