"""Every example shows its help, and runs at a tiny size."""

import importlib.util
import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textrl_env import KLShaping, TextGenEnv
from textrl_env.mdp.kl import ESTIMATORS
from textrl_env.worlds import EnumerableWorld, support_desk

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [
    "tour_of_the_env",
    "kl_estimators",
    "train_sft",
    "train_reward_model",
    "train_ppo",
    "train_with_sb3",
    "write_your_own_algorithm",
    "cleanrl_style_ppo",
    "check_your_agent",
]


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def options(name: str, folder: Path) -> dict[str, Any]:
    """Arguments that make an example tiny."""
    from textrl_env.agents import SFTConfig
    from textrl_env.reward_models import RewardModelConfig

    demonstrations = folder / "demonstrations.jsonl"
    demonstrations.write_text("".join(json.dumps(row) + "\n" for row in support_desk.demonstrations(60, seed=0)))
    return {
        "tour_of_the_env": {"seed": 3},
        "kl_estimators": {},
        "train_sft": {
            "run_dir": folder,
            "demonstrations": demonstrations,
            "training": SFTConfig(n_steps=4, batch_size=4),
        },
        "train_reward_model": {
            "run_dir": folder,
            "n_prompts": 30,
            "training": RewardModelConfig(n_epochs=1, batch_size=8),
        },
        "train_ppo": {"n_updates": 3, "n_episodes": 8, "log_dir": folder / "ppo"},
        "train_with_sb3": {"total_timesteps": 300, "num_envs": 64},
        "write_your_own_algorithm": {"n_steps": 60, "num_envs": 8},
        "cleanrl_style_ppo": {"total_timesteps": 200, "num_envs": 8},
        "check_your_agent": {"budget": 0.001},
    }[name]


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"{name}.py" in shown and "--" in shown and "Takes about" in " ".join(shown.split())


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_returns_finite_numbers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = load(name)
    result = module.main(module.Args(**options(name, tmp_path)))
    numbers = [value for value in result.values() if isinstance(value, int | float)]
    assert numbers and all(math.isfinite(value) for value in numbers)
    # Nothing is left outside the folders that were given.
    assert not (tmp_path / "runs").exists()


def test_kl_estimators_do_what_their_closed_forms_say() -> None:
    module = load("kl_estimators")
    policy, reference = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    numbers = module.main(module.Args(policy=tuple(policy), reference=tuple(reference)))
    ratio = np.log(policy / reference)
    kl = float(policy @ ratio)
    gradient, of_forward_kl = policy * (ratio - kl), policy - reference
    for name, estimator in ESTIMATORS.items():
        values = estimator(np.log(policy), np.log(reference))
        assert numbers[f"{name}_mean"] == pytest.approx(policy @ values)
        assert numbers[f"{name}_standard deviation"] == pytest.approx(np.sqrt(policy @ (values - policy @ values) ** 2))
    norm = np.linalg.norm
    expected = {
        # Differentiated, k1's expectation is 0, k2's the gradient of the KL, k3's that of the KL the other way round.
        "k1_loss gradient off by": norm(gradient),
        "k2_loss gradient off by": 0.0,
        "k3_loss gradient off by": norm(of_forward_kl - gradient),
        # As rewards only k1 has the KL's gradient; k3 lacks that of the KL the other way round.
        "k1_reward gradient off by": 0.0,
        "k3_reward gradient off by": norm(of_forward_kl),
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert numbers["kl"] == pytest.approx(kl) and numbers["k2_reward gradient off by"] > 0.1


def test_the_ppo_in_one_file_has_a_reference_for_either_way_to_pay() -> None:
    module = load("cleanrl_style_ppo")
    world = EnumerableWorld(vocab_size=8, horizon=3, n_prompts=4)
    reference = module.FrozenAgent(module.Agent(world.vocab_size, 2 + world.horizon))
    paid = []
    for pay in ("step", "episode"):
        shaping = KLShaping(0.5, mode="sampled", pay=pay)
        options = {"max_new_tokens": world.horizon, "kl": shaping, "reference": reference}
        env = TextGenEnv(world.prompts, world.reward, world.tokenizer, **options)  # type: ignore[arg-type]
        env.reset(options={"prompt_index": 1})
        paid.append(sum(env.step({"token": token, "logprob": -1.0})[4]["reward_terms"]["kl"] for token in (3, 1, 5)))
    assert paid[0] == pytest.approx(paid[1], abs=1e-5) and abs(paid[0]) > 0.01


def test_the_ppo_in_one_file_climbs_towards_the_optimum_and_not_beyond() -> None:
    module = load("cleanrl_style_ppo")
    result = module.main(module.Args(total_timesteps=20_000))
    assert result["before"] + 0.3 * (result["best"] - result["before"]) < result["after"] <= result["best"]
