"""The progress bar of `learn`, and the one callback that `learn` makes of what it is given."""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback

from textrl_env.training import progress_columns

MaybeCallback = None | BaseCallback | list[BaseCallback] | Callable[[dict[str, Any], dict[str, Any]], bool]


class ShowProgress(BaseCallback):
    """A progress bar on stderr with the time left, the score and the KL; silent where stderr is no terminal.

    It counts to the length of the run, in updates or tokens; a resumed run begins where it was stopped. Of several
    processes one shows it.
    """

    def _on_training_start(self) -> None:
        plan = self.model.state.plan  # type: ignore[attr-defined]
        updates = plan.total_updates is not None
        self._counter, self._first = (
            ("n_updates", plan.first_update) if updates else ("num_timesteps", plan.first_timestep)
        )
        self._bar = progress_columns()
        self._bar.disable = not self.model.processes.writes  # type: ignore[attr-defined]
        total = plan.total_updates if updates else plan.total_timesteps
        self._task = self._bar.add_task(type(self.model).__name__, total=total, note="")
        self._count()
        self._bar.start()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._count()

    def _on_rollout_end(self) -> None:
        rollout = self.model.rollout  # type: ignore[attr-defined]
        # Rounding makes -0.0 of a small negative KL; adding 0.0 makes it 0.0.
        note = f"score {float(rollout.scores.mean()):+.2f}  KL {round(float(rollout.kl.mean()), 1) + 0.0:.1f}"
        self._bar.update(self._task, note=note)

    def _on_training_end(self) -> None:
        self._count()
        self._bar.stop()

    def _count(self) -> None:
        self._bar.update(self._task, completed=getattr(self.model, self._counter) - self._first)


def as_callback(callback: MaybeCallback, *, progress_bar: bool) -> BaseCallback:
    """Makes one callback of what `learn` is given: none, one, several, or a function of locals and globals."""
    if isinstance(callback, list):
        callback = CallbackList(callback)
    if not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback) if callback is not None else CallbackList([])
    return CallbackList([callback, ShowProgress()]) if progress_bar else callback
