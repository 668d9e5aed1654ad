"""A run that was stopped and loaded is, to the last bit, the run that never stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from textrl_env import AdaptiveKL, InputError, KLShaping
from textrl_env.agents import PPO
from textrl_env.agents.callbacks import TrackReward
from textrl_env.agents.on_policy import SaveCheckpoints

N = 3
ADAPTIVE = KLShaping(0.1, "sampled", pay="episode", controller=AdaptiveKL(target=1e-3, horizon=50))
EACH_STEP = KLShaping(0.1, "sampled", pay="step")
SHORT = {"max_new_tokens": 2}

VARIANTS: dict[str, dict[str, Any]] = {
    "epoch order, adaptive KL": {"env": {"prompt_order": "epoch", "kl": ADAPTIVE}},
    "shared critic, groups, KL by step": {"critic": "shared", "group_size": 2, "env": {"kl": EACH_STEP, **SHORT}},
    "refilled slots, microbatches": {"env": {"num_envs": 3, "prompt_order": "epoch"}, "microbatch_size": 3},
    "more slots than episodes": {"env": {"num_envs": 11, "min_new_tokens": 2}, "gamma": 0.9},
}


def falling(remaining: float) -> float:
    return 1e-3 * remaining


def everything(ppo: PPO) -> dict[str, Any]:
    """All that training depends on."""
    moments = ppo.optimizer.state_dict()["state"]
    return {
        **{f"parameter {name}": value.clone() for name, value in ppo.policy.state_dict().items()},
        **{f"{index}.{key}": value.clone() for index, entry in moments.items() for key, value in entry.items()},
        "shuffle": ppo.generator.get_state(),
        "sampling": ppo.policy.generator.get_state(),
        "env": ppo.env.state(),
        "counters": (ppo.n_updates, ppo.num_timesteps),
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(v, other[k]) if isinstance(v, torch.Tensor) else v == other[k] for k, v in one.items())


def rows(folder: Path) -> list[dict[str, Any]]:
    """The log without the clock's column."""
    lines = (folder / "progress.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "time/fps"} for line in lines]


def length(prompts: list[str], completions: list[str]) -> list[float]:
    return [len(text) / 7 for text in completions]


class After:
    """`should_stop` that is True from the n-th question on; `asked` counts."""

    def __init__(self, n: float) -> None:
        self.n, self.asked = n, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.n


class StopAfterUpdates:
    """`should_stop` that is True once k updates are done."""

    def __init__(self, ppo: PPO, k: int) -> None:
        self.ppo, self.k = ppo, k

    def __call__(self) -> bool:
        return self.ppo.n_updates >= self.k


@pytest.fixture
def make(make_ppo: Any, tmp_path: Path) -> Callable[..., PPO]:
    def of(name: str, variant: dict[str, Any]) -> PPO:
        return make_ppo(learning_rate=falling, log_dir=tmp_path / name, **variant)  # type: ignore[no-any-return]

    return of


def straight(make: Callable[..., PPO], variant: dict[str, Any], stop: After, **options: Any) -> PPO:
    ppo = make("straight", variant)
    ppo.learn(**(options or {"total_updates": N}), callback=TrackReward("length", length), should_stop=stop)
    return ppo


@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_after_any_update_all_is_equal(make: Any, tmp_path: Path, name: str) -> None:
    expected = straight(make, VARIANTS[name], After(float("inf")))
    for k in range(1, N + 1):
        first = make("stopped", VARIANTS[name])
        tracked = TrackReward("length", length)
        stop = StopAfterUpdates(first, k)
        first.learn(total_updates=N, callback=tracked, should_stop=stop)
        assert first.position == (k, 0)
        first.save(tmp_path / "run")
        again = make("stopped", {**VARIANTS[name], "seed": 9}).load(tmp_path / "run")
        again.learn(callback=tracked)
        assert same(everything(again), everything(expected)), k
        assert rows(tmp_path / "stopped") == rows(tmp_path / "straight")
        assert len(rows(tmp_path / "stopped")) == N
    assert not same(everything(make("other", {**VARIANTS[name], "seed": 9})), everything(make("third", VARIANTS[name])))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["epoch order, adaptive KL", "shared critic, groups, KL by step"])
def test_stopped_at_any_step_of_the_environment_or_the_optimizer(make: Any, tmp_path: Path, name: str) -> None:
    """`should_stop` is asked after each of them; a rollout is undone, an update goes on with its next minibatch."""
    variant, asked = VARIANTS[name], After(float("inf"))
    expected = straight(make, variant, asked)
    positions = set()
    for n in range(1, asked.asked, 3):
        first = make("stopped", variant)
        first.learn(total_updates=N, callback=TrackReward("length", length), should_stop=After(n))
        positions.add(first.position)
        first.save(tmp_path / "run")
        again = make("stopped", {**variant, "seed": 9}).load(tmp_path / "run")
        assert again.position == first.position
        again.learn(callback=TrackReward("length", length))
        assert same(everything(again), everything(expected)), n
        assert rows(tmp_path / "stopped") == rows(tmp_path / "straight"), n
    assert {minibatch for _, minibatch in positions} >= {0, 1, 2, 3}


def test_a_length_in_tokens_and_its_schedule_go_on(make: Any, tmp_path: Path) -> None:
    expected = straight(make, {}, asked := After(float("inf")), total_timesteps=130)
    for n in range(1, asked.asked, 9):
        first = make("stopped", {})
        first.learn(130, should_stop=After(n), callback=TrackReward("length", length))
        first.save(tmp_path / "run")
        again = make("stopped", {"seed": 9}).load(tmp_path / "run")
        again.learn(callback=TrackReward("length", length))
        assert same(everything(again), everything(expected))
        assert rows(tmp_path / "stopped") == rows(tmp_path / "straight")


def test_in_one_process_a_stop_changes_nothing_either(make: Any) -> None:
    expected = straight(make, {}, asked := After(float("inf")))
    ppo = make("stopped", {})
    ppo.learn(total_updates=N, should_stop=After(5))
    for _ in range(asked.asked // 7):
        ppo.learn(should_stop=After(7))
    ppo.learn()
    assert same(everything(ppo), everything(expected))
    assert same(everything(ppo.learn()), everything(expected))


def test_a_checkpoint_does_not_fit_another_environment(make_ppo: Any, tmp_path: Path) -> None:
    make_ppo().learn(total_updates=1).save(tmp_path / "run")
    with pytest.raises(InputError, match="num_envs 4, this one has 3; make the environment as it was"):
        make_ppo(env={"num_envs": 3}).load(tmp_path / "run")


def test_a_loss_that_is_not_a_number_names_step_prompts_and_checkpoint(make_ppo: Any, tmp_path: Path) -> None:
    ppo, steps = make_ppo(), 0

    def loss(batch: Any) -> Any:
        nonlocal steps
        value, statistics = PPO.loss(ppo, batch)
        steps += 1
        # A gradient that is infinite while the loss is a number.
        return (value if steps != 11 else value + (value * 0).sqrt()), statistics

    ppo.loss = loss
    seen: list[Any] = []
    ppo.optimizer.register_step_post_hook(lambda *_: seen.append(everything(ppo)))
    with pytest.raises(InputError, match=r"gradient norm nan at update 3, minibatch 3, prompts \[") as raised:
        ppo.learn(total_updates=4, callback=SaveCheckpoints(tmp_path / "run", every_updates=1))
    assert f"last checkpoint is {tmp_path / 'run' / 'update-000002'}. Lower" in str(raised.value)
    assert same({**everything(ppo), "counters": 0}, {**seen[-1], "counters": 0})
    assert all(torch.isfinite(value).all() for value in ppo.policy.state_dict().values())
    for index in numbers_in(str(raised.value)):
        assert index in ppo.rollout.prompt_index.tolist()


def numbers_in(message: str) -> list[int]:
    """The numbers between the message's brackets."""
    return [int(index) for index in message.partition("[")[2].partition("]")[0].split(",")]
