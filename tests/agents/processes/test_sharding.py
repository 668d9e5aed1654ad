"""FSDP2: parameters, gradients and moments in shards; what is trained is what one process trains."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from textrl_env import InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import GRPO, PPO, RLOO, ActorCriticLM, Rollout
from textrl_env.agents.rollouts import collection
from textrl_env.lm.adapters import with_lora
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

CONFIG = Path(__file__).parents[3] / "examples" / "accelerate" / "fsdp2.yaml"
V = 8
N = 2
VARIANTS: dict[str, tuple[str, Any, dict[str, Any], dict[str, Any]]] = {
    "ppo, gpt2": ("gpt2", PPO, {}, {"n_epochs": 2, "microbatch_size": 1}),
    "ppo, shared, llama": ("llama", PPO, {"critic": "shared", "gradient_checkpointing": True}, {"ent_coef": 0.1}),
    "rloo, qwen2": ("qwen2", RLOO, {"critic": "none"}, {"group_size": 2}),
    "grpo, a critic that nobody asks": ("llama", GRPO, {}, {"group_size": 4}),
}


SLOW = [*VARIANTS][1:]


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [float(text.count("a")) - 0.3 * len(text) for text in completions]


@pytest.fixture
def make(make_model: Any) -> Callable[..., Any]:
    def of(name: str) -> Any:
        kind, algorithm, critic, options = VARIANTS[name]
        env = TextGenVectorEnv(
            ["abcde", "f", "gab", "cd"],
            count_a,
            LetterTokenizer(V),
            num_envs=3,
            autoreset_mode="Disabled",
            max_new_tokens=6,
            kl=KLShaping(0.1, "sampled", pay="episode"),
            reference=FrozenReference(make_model(kind, seed=1), vocab_size=V),
        )
        agent = ActorCriticLM(make_model(kind), vocab_size=V, **critic)
        return algorithm(agent, env, n_episodes=8, batch_size=4, learning_rate=1e-3, seed=0, **options)

    return of


def launched_with_shards() -> None:
    """What `accelerate launch` sets for the configuration that is shipped; of CPUs accelerate has to be told."""
    arguments = launch_command_parser().parse_args(["--config_file", str(CONFIG), "script.py"])
    arguments, _, _ = _validate_launch_command(arguments)
    environment = prepare_multi_gpu_env(arguments)
    os.environ |= {name: value for name, value in environment.items() if name.startswith(("FSDP", "ACCELERATE"))}
    accelerator = Accelerator(cpu=True)
    assert accelerator.distributed_type is DistributedType.MULTI_CPU
    for state in (AcceleratorState, PartialState):
        state._shared_state["distributed_type"] = DistributedType.FSDP
    AcceleratorState._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin()


def whole(algorithm: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in algorithm.policy.whole().state_dict().items()}


@pytest.mark.parametrize("name", ["ppo, gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_shards_come_to_what_one_process_comes_to(
    name: str, make: Any, both: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(index: int) -> dict[str, Any]:
        launched_with_shards()
        algorithm, rollouts = make(name), []
        for _ in range(N):
            algorithm.learn(total_updates=1)
            rollouts.append({key: value for key, value in vars(algorithm.rollout).items() if value is not None})
        algorithm.save(tmp_path / "run")
        again = make(name).load(tmp_path / "run")
        held = [*algorithm.policy.parameters(), *(entry["exp_avg"] for entry in algorithm.optimizer.state.values())]
        return {
            "rollouts": rollouts,
            "sharded": all(isinstance(tensor, DTensor) for tensor in held),
            "share": sum(tensor.to_local().numel() for tensor in held) / sum(tensor.numel() for tensor in held),
            "state": whole(algorithm),
            "loaded": whole(again),
            "further": whole(algorithm.learn(total_updates=1)),
            "resumed": whole(again.learn(total_updates=1)),
        }

    one, other = both(work)
    given = iter(one["rollouts"])
    monkeypatch.setattr(collection, "collect", lambda *_, **__: Rollout(**next(given)))
    expected = make(name)
    for _ in range(N):
        expected.learn(total_updates=1)
    for key, value in expected.policy.state_dict().items():
        assert torch.equal(one["state"][key], other["state"][key])
        assert torch.allclose(one["state"][key], value, rtol=1e-5, atol=1e-5), key
        assert torch.equal(one["loaded"][key], one["state"][key])
        assert torch.equal(one["resumed"][key], one["further"][key])
    assert one["sharded"] and 0.49 < one["share"] < 0.51 and 0.49 < other["share"] < 0.51
    assert max(float((one["further"][key] - value).abs().max()) for key, value in one["state"].items()) > 1e-4
    causal_lm = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "policy")
    for key, value in causal_lm.state_dict().items():
        assert torch.equal(value, one["state"][f"policy.{key}"])


def test_what_does_not_go_with_shards(make_model: Any, make_env: Any, both: Any) -> None:
    def refused(agent: ActorCriticLM) -> str:
        with pytest.raises(InputError) as raised:
            PPO(agent, make_env(), n_episodes=4)
        return str(raised.value)

    def work(index: int) -> tuple[str, str, str]:
        os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
        on_cpus = refused(ActorCriticLM(make_model("gpt2"), vocab_size=V))
        launched_with_shards()
        return (
            on_cpus,
            refused(ActorCriticLM(with_lora(make_model("gpt2"), rank=2), vocab_size=V)),
            refused(ActorCriticLM(make_model("gpt2").bfloat16(), vocab_size=V)),
        )

    for on_cpus, with_adapters, half in both(work):
        assert half.startswith("FSDP2 takes parameters of one type: load the policy in float32")
        assert "configured for what does not work here (MULTI_CPU on cpu)" in on_cpus
        assert with_adapters == "adapters are small enough to be whole: use them without FSDP"
