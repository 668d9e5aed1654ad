"""One process that stops, fails or dies: what becomes of the other."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from textrl_env.agents import PPO
from textrl_env.agents.on_policy import SaveCheckpoints

N = 2


class After:
    """`should_stop` that is True from the n-th question on."""

    def __init__(self, n: float) -> None:
        self.n, self.asked = n, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.n


class At(BaseCallback):
    """Does something at the first step of the environment in a certain update."""

    def __init__(self, update: int, do: Callable[[], object]) -> None:
        super().__init__()
        self.update, self.do = update, do

    def _on_step(self) -> bool:
        if self.model.n_updates == self.update:  # type: ignore[attr-defined]
            self.do()
        return True


def everything(ppo: PPO) -> dict[str, Any]:
    moments = ppo.optimizer.state_dict()["state"]
    return {
        **{name: value.clone() for name, value in ppo.policy.state_dict().items()},
        **{f"{index}.{key}": value.clone() for index, entry in moments.items() for key, value in entry.items()},
        "shuffle": ppo.generator.get_state(),
        "sampling": ppo.policy.generator.get_state(),
        "env": ppo.env.state(),
        "counters": (ppo.n_updates, ppo.num_timesteps),
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(v, other[k]) if isinstance(v, torch.Tensor) else v == other[k] for k, v in one.items())


@pytest.mark.slow
def test_resumed_after_any_stop_of_either_all_is_equal_in_both(make_ppo: Any, both: Any, tmp_path: Path) -> None:
    """Stops in the middle of a rollout, of an update and between them; then two new processes go on."""
    stops = [(n % 2, n) for n in (2, 5, 6, 7, 8, 9, 10, 15)]

    def make(seed: int = 0) -> PPO:
        ppo: PPO = make_ppo(learning_rate=lambda remaining: 1e-3 * remaining, env={"prompt_order": "epoch"}, seed=seed)
        return ppo

    def stopped(index: int) -> Any:
        positions = []
        for stopper, n in stops:
            ppo = make()
            ppo.learn(total_updates=N, should_stop=After(n if index == stopper else float("inf")))
            positions.append(ppo.position)
            ppo.save(tmp_path / f"{stopper}-{n}")
        return positions, everything(make().learn(total_updates=N))

    def resumed(index: int) -> Any:
        return [everything(make(seed=9).load(tmp_path / f"{stopper}-{n}").learn()) for stopper, n in stops]

    (positions, expected), (other_positions, other_expected) = both(stopped)
    assert positions == other_positions
    assert {minibatch for _, minibatch in positions} >= {0, 1, 2}, positions
    assert {update for update, _ in positions} >= {0, 1}
    one, other = both(resumed)
    assert all(same(found, expected) for found in one) and all(same(found, other_expected) for found in other)
    assert not same(expected, other_expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{stopper}-{n}" for stopper, n in stops)


def test_a_callback_that_ends_training_in_one_ends_it_in_both(make_ppo: Any, both: Any) -> None:
    class Enough(BaseCallback):
        def __init__(self, updates: float) -> None:
            super().__init__()
            self.updates = updates

        def _on_step(self) -> bool:
            return bool(self.model.n_updates < self.updates)  # type: ignore[attr-defined]

    def work(index: int) -> Any:
        return make_ppo().learn(total_updates=N, callback=Enough(1 if index else float("inf"))).position

    assert both(work) == [(1, 0), (1, 0)]


def test_a_killed_process_ends_the_other_with_an_error(make_ppo: Any, together: Any, tmp_path: Path) -> None:
    def work(index: int) -> None:
        die = At(2, lambda: os.kill(os.getpid(), signal.SIGKILL)) if index else At(2, lambda: None)
        make_ppo().learn(total_updates=4, callback=[die, SaveCheckpoints(tmp_path / "run", every_updates=1)])

    one, other = together(work)
    assert (other.error, other.exit_code) == ("killed", -signal.SIGKILL)
    assert one.exit_code == 1 and one.seconds < 60
    assert one.error.startswith("InputError: process 1 of 2 lost the others (")
    assert "\n" not in one.error and one.error.endswith("Start all of them again, from the newest checkpoint")

    def go_on(index: int) -> Any:
        return make_ppo().load(tmp_path / "run" / "update-000002").learn().position

    assert [end.result for end in together(go_on)] == [(4, 0), (4, 0)]


def test_processes_at_different_places_of_a_run_are_refused(make_ppo: Any, together: Any, tmp_path: Path) -> None:
    """As where only one machine sees the run's folder."""

    def work(index: int) -> None:
        make_ppo().learn(total_updates=1).save(tmp_path / "run")
        ppo = make_ppo()
        (ppo.load(tmp_path / "run") if index else ppo).learn(total_updates=1)

    for end in together(work):
        assert end.error.startswith(
            "InputError: the state of training is not the same in all 2 processes (updates, tok"
        )


def test_an_error_in_one_ends_both(make_ppo: Any, together: Any) -> None:
    def work(index: int) -> None:
        def reward(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
            return [float("nan") if index == 1 else 0.0 for _ in completions]

        make_ppo(env={"reward": reward}).learn(total_updates=9)

    one, other = together(work)
    assert other.error.startswith("InputError: reward function")
    assert one.error.startswith("InputError: process 1 of 2 lost the others (")


def test_a_loss_that_is_not_a_number_in_one_stops_both_before_the_step(make_ppo: Any, together: Any) -> None:
    def work(index: int) -> Any:
        ppo, steps = make_ppo(), 0

        def loss(batch: Any) -> Any:
            nonlocal steps
            value, statistics = PPO.loss(ppo, batch)
            steps += 1
            return value * (float("nan") if index == 1 and steps == 6 else 1), statistics

        ppo.loss = loss
        with pytest.raises(Exception, match=r"the loss is nan, .* at update 2, minibatch 2, prompts \[") as raised:
            ppo.learn(total_updates=4)
        return str(raised.value), all(torch.isfinite(value).all() for value in ppo.policy.state_dict().values())

    one, other = (end.result for end in together(work))
    assert one == other and one[1]


def test_a_full_disk_is_the_same_error_in_both_and_training_goes_on(make_ppo: Any, both: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    def work(index: int) -> Any:
        with pytest.warns(UserWarning, match="Training goes on") as warned, pytest.raises(Exception, match="could not"):
            make_ppo().learn(total_updates=N, callback=SaveCheckpoints(tmp_path / "file" / "run", every_updates=1))
        return [str(warning.message) for warning in warned]

    one, other = both(work)
    assert len(one) == len(other) == N - 1
    assert "could not be written (Not a directory)" in one[0]
    assert other[0].startswith("process 1 could not write its files; its own message says why. Training goes on")
