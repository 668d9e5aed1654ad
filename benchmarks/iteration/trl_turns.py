"""What the workers of TRL's trainers share: a callback that runs them iteration by iteration, and counted forwards."""

from collections import Counter
from typing import Any

from iteration.turns import Turns
from transformers import TrainerCallback


class ByTurns(TrainerCallback):
    """Holds a trainer back until its next turn, and reports each iteration, which has `steps` steps of the trainer.

    What the trainer does between this callback and its next iteration (collecting garbage) counts for the next one.
    """

    def __init__(self, turns: Turns, count: "ForwardCount", *, steps: int = 1) -> None:
        self._turns, self._count, self._steps = turns, count, steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._turns.ready()
        self._turns.wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._steps == 0:
            self._turns.report(positions=self._count.read())
            self._turns.wait()


class ForwardCount:
    """Token positions that went through each network, as a check that a trainer does the whole job."""

    def __init__(self, **networks: Any) -> None:
        self._counts: Counter[str] = Counter()
        for name, network in networks.items():
            network.base_model.register_forward_pre_hook(self._counter(name), with_kwargs=True)

    def read(self) -> dict[str, int]:
        """Positions by network since the last reading."""
        counts, self._counts = dict(self._counts), Counter()
        return counts

    def _counter(self, name: str) -> Any:
        def count(module: Any, args: Any, kwargs: Any) -> None:
            self._counts[name] += (args[0] if args else kwargs["input_ids"]).numel()

        return count
