"""What two processes train is what one trains on the same completions."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from transformers import AutoModelForCausalLM

from textrl_env import AdaptiveKL, InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import A2C, GRPO, PPO, REINFORCE, RLOO, ActorCriticLM, Rollout
from textrl_env.agents.maths import whiten
from textrl_env.agents.rollouts import collection
from textrl_env.lm.adapters import with_lora
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

N = 2
V = 8
PROMPTS = ["abcde", "f", "gab", "cd", "fa", "ee", "bcd", "gg"]
"""More than two, so that each process has several."""
COMMON = {"n_episodes": 8, "batch_size": 4, "learning_rate": 1e-2, "seed": 3}
VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ppo": (PPO, {"n_epochs": 2, "microbatch_size": 1, "ent_coef": 0.1}),
    "a2c, shared critic, cut": (A2C, {"critic": "shared", "env": {"length_limit": "cut", "max_new_tokens": 4}}),
    "reinforce, KL in the loss, masks": (REINFORCE, {"kl_loss_coef": 0.2, "env": {"min_new_tokens": 2}}),
    "rloo, a critic that nobody asks": (RLOO, {"group_size": 2}),
    "grpo, adapters": (GRPO, {"group_size": 4, "n_epochs": 2, "critic": "none", "microbatch_size": 2, "lora": True}),
}


def e_or_shorter(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [float(text.count("e")) - 0.3 * len(text) for text in completions]


@pytest.fixture
def make(make_model: Any, tmp_path: Path) -> Callable[..., Any]:
    """An algorithm on a Llama with ragged prompts and completions, in an epoch order."""

    def of(name: str, folder: str, **more: Any) -> Any:
        kind, options = VARIANTS[name]
        options = COMMON | options | more
        model = with_lora(make_model("llama"), rank=4) if options.pop("lora", False) else make_model("llama")
        reference = FrozenReference(make_model("llama", seed=1), vocab_size=V)
        controller = AdaptiveKL(target=0.5, horizon=20)
        env = TextGenVectorEnv(
            PROMPTS,
            e_or_shorter,
            LetterTokenizer(V),
            num_envs=3,
            autoreset_mode="Disabled",
            prompt_order="epoch",
            kl=KLShaping(0.1, "sampled", pay="episode", controller=controller),
            reference=reference,
            **{"max_new_tokens": 6, **options.pop("env", {})},
        )
        agent = ActorCriticLM(model, vocab_size=V, critic=options.pop("critic", "separate"))
        return kind(agent, env, reference=reference, log_dir=tmp_path / folder, **options)

    return of


def parts(rollout: Rollout) -> dict[str, torch.Tensor]:
    return {field.name: value for field in fields(rollout) if (value := getattr(rollout, field.name)) is not None}


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "progress.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "time/fps"} for line in lines]


def trained(algorithm: Any) -> dict[str, Any]:
    """Trains; all that it was and came to."""
    rollouts: list[dict[str, torch.Tensor]] = []
    coefficients = [algorithm.env.kl_coef]

    class Keep(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            rollouts.append(parts(algorithm.rollout))
            coefficients.append(algorithm.env.kl_coef)

    algorithm.learn(total_updates=N, callback=Keep())
    return {
        "rollouts": rollouts,
        "coefficients": coefficients,
        "parameters": {name: value.clone() for name, value in algorithm.policy.state_dict().items()},
        "moments": algorithm.optimizer.state_dict()["state"],
        "generator": algorithm.policy.generator.get_state(),
        "tokens": algorithm.num_timesteps,
        "folder": algorithm.logger.dir,
    }


@pytest.fixture
def alone(make: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The same algorithm in one process, which is given the completions that two have gathered."""

    def run(name: str, rollouts: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
        algorithm, given = make(name, f"{name} alone"), iter(rollouts)
        monkeypatch.setattr(collection, "collect", lambda *_, **__: Rollout(**next(given)))
        return trained(algorithm)

    return run


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_come_to_what_one_comes_to(name: str, make: Any, both: Any, alone: Any, tmp_path: Path) -> None:
    one, other = both(lambda index: trained(make(name, f"{name} {index}")))
    expected = alone(name, one["rollouts"])
    for key, value in one["parameters"].items():
        assert torch.equal(value, other["parameters"][key])
        assert torch.allclose(value, expected["parameters"][key], rtol=1e-5, atol=1e-5), key
    for index, moments in one["moments"].items():
        assert all(torch.equal(value, other["moments"][index][key]) for key, value in moments.items())
    assert one["coefficients"] == other["coefficients"] == pytest.approx(expected["coefficients"], rel=1e-6)
    assert len(set(one["coefficients"])) == N + 1
    assert one["tokens"] == other["tokens"] == expected["tokens"]
    # The log is that of all completions, and one process writes it.
    logged = [pytest.approx(row, rel=1e-4, abs=1e-5) for row in rows(tmp_path / f"{name} alone")]
    assert rows(tmp_path / f"{name} 0") == logged
    assert not (tmp_path / f"{name} 1").exists() and other["folder"] is None
    # Had nothing been learnt, all would be equal too.
    start = make(name, "start").policy.state_dict()
    assert max(float((value - start[key]).abs().max()) for key, value in one["parameters"].items()) > 1e-3


def test_prompts_are_disjoint_draws_are_not_the_same_and_groups_are_whole(make: Any, both: Any) -> None:
    one, other = both(lambda index: trained(make("grpo, adapters", f"{index}", n_episodes=96, batch_size=96)))
    rollout = Rollout(**one["rollouts"][0])
    assert len(rollout) == 96
    assert all(torch.equal(part, other["rollouts"][0][name]) for name, part in parts(rollout).items())
    prompts = torch.stack([found["prompt_index"] for found in one["rollouts"]])
    groups = prompts.view(-1, 4)
    assert (groups == groups[:, :1]).all()
    first, second = (set(half.flatten().tolist()) for half in prompts.chunk(2, dim=1))
    # Each of the three slots of a process has gone through an epoch of its half.
    assert first == set(range(0, len(PROMPTS), 2)) and second == set(range(1, len(PROMPTS), 2))
    assert not torch.equal(one["generator"], other["generator"])
    assert not torch.equal(*rollout.logprobs[:, 0].chunk(2))


def test_what_is_compared_depends_on_it(make: Any, both: Any) -> None:
    """Negative controls: parts normalised or averaged by themselves would be seen in the parameters."""
    (one, _) = both(lambda index: trained(make("ppo", f"{index}")))
    rollout = Rollout(**one["rollouts"][0])
    mask, x = rollout.completion_mask, rollout.rewards
    apart = torch.cat([whiten(x[half], mask[half]) for half in torch.arange(8).chunk(2)])
    assert (apart - whiten(x, mask)).abs().max() > 0.05
    assert len({int(half.sum()) for half in mask.chunk(2)}) == 2


def test_sizes_that_processes_cannot_share(make: Any, together: Any) -> None:
    cases = {
        "batch_size must be a multiple of the 2 processes, got 1": {"batch_size": 1},
        "makes 1 groups; their number must be a multiple of the 2 processes": {"group_size": 8},
    }

    def work(index: int) -> list[str]:
        found = []
        for message, options in cases.items():
            with pytest.raises(InputError, match=message):
                make("grpo, adapters", "refused", **options)
            found.append(message)
        return found

    assert [end.result for end in together(work)] == [list(cases)] * 2


def test_policies_that_are_not_the_same_are_refused(make_model: Any, make_env: Any, together: Any) -> None:
    def work(index: int) -> None:
        agent = ActorCriticLM(make_model("gpt2", seed=index), vocab_size=V)
        PPO(agent, make_env(), n_episodes=4)

    for end in together(work):
        assert "the policy's parameters is not the same in all 2 processes (policy.transformer.wte.weight" in end.error


def test_a_checkpoint_of_two_is_one_folder_that_transformers_loads(make: Any, both: Any, tmp_path: Path) -> None:
    def work(index: int) -> dict[str, torch.Tensor]:
        algorithm = make("ppo", f"{index}").learn(total_updates=1)
        algorithm.save(tmp_path / "run")
        state: dict[str, torch.Tensor] = algorithm.policy.policy.state_dict()
        return state

    state, _ = both(work)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "policy").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())
    with pytest.raises(InputError, match="is of a run of 2 processes, and this one has 1; launch as many"):
        make("ppo", "alone").load(tmp_path / "run")
