"""Early stop on KL, the best policy, the bar."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from transformers import AutoModelForCausalLM

from textrl_env import InputError
from textrl_env.agents.callbacks import KeepBest, StopOnKL


class Scripted(BaseCallback):
    """Logs given numbers, one a rollout and one at the end, and keeps the policy's parameters of those moments."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        self.numbers = numbers
        self.parameters: list[list[torch.Tensor]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.logger.record("eval/rlhf_reward", self.numbers[len(self.parameters)])
        policy = self.model.policy.policy  # type: ignore[union-attr]
        self.parameters.append([parameter.detach().clone() for parameter in policy.parameters()])  # type: ignore[operator]

    _on_training_end = _on_rollout_end


def test_training_stops_once_the_kl_is_too_large(make_ppo: Any, tmp_path: Path) -> None:
    ppo, stop = make_ppo(learning_rate=0.03, log_dir=tmp_path), StopOnKL(0.5)
    ppo.learn(total_updates=50, callback=stop)
    kl = [json.loads(line)["objective/kl"] for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert 1 < ppo.n_updates == len(kl) < 50
    assert all(value <= 0.5 for value in kl[:-1]) and kl[-1] > 0.5
    assert stop.stopped_at == pytest.approx(kl[-1], rel=1e-4)
    with pytest.raises(InputError, match="max_kl must be above 0, got -1"):
        StopOnKL(-1)


@pytest.mark.parametrize(("numbers", "best"), [([1.0, 3.0, 2.0, 2.5], 1), ([1.0, 2.0, 2.0, 5.0], 3), ([4.0] * 4, 0)])
def test_the_policy_that_was_measured_best_is_kept(
    make_ppo: Any, tmp_path: Path, numbers: list[float], best: int
) -> None:
    folder, script = tmp_path / "best", Scripted(numbers)
    make_ppo(learning_rate=1e-2).learn(total_updates=3, callback=[script, KeepBest(folder)])
    kept = list(AutoModelForCausalLM.from_pretrained(folder).parameters())
    same = [all(torch.equal(*pair) for pair in zip(kept, then, strict=True)) for then in script.parameters]
    assert same == [n == best for n in range(4)]
    facts = json.loads((folder / "best.json").read_text())
    assert facts == {"metric": "eval/rlhf_reward", "value": numbers[best], "n_updates": best}
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_run_that_goes_on_remembers_its_best_and_a_new_one_does_not(make_ppo: Any, tmp_path: Path) -> None:
    ppo, folder = make_ppo(), tmp_path / "best"
    ppo.learn(total_updates=1, callback=[Scripted([5.0, 1.0]), KeepBest(folder)])
    ppo.learn(total_updates=1, callback=[Scripted([2.0, 3.0]), KeepBest(folder)])
    assert json.loads((folder / "best.json").read_text())["value"] == 5.0
    make_ppo().learn(total_updates=1, callback=[Scripted([2.0, 3.0]), KeepBest(folder)])
    assert json.loads((folder / "best.json").read_text())["value"] == 3.0


def test_a_metric_that_is_not_logged_is_named(make_ppo: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tag 'eval/gold'.*objective/kl, .*rollout/ep_rew_mean"):
        make_ppo().learn(total_updates=1, callback=KeepBest(tmp_path / "best", "eval/gold"))


@pytest.mark.parametrize("length", [{"total_updates": 2}, {"total_timesteps": 60}])
def test_the_bar_counts_what_learn_was_asked_for(
    make_ppo: Any, length: dict[str, int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    ppo = make_ppo().learn(progress_bar=True, **length)
    done = 2 if "total_updates" in length else ppo.num_timesteps
    shown = capsys.readouterr().err
    assert "PPO" in shown and f"{done}/{next(iter(length.values()))}" in shown
    assert f"score {float(ppo.rollout.scores.mean()):+.2f}  KL {float(ppo.rollout.kl.mean()):.1f}" in shown
