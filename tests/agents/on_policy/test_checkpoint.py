"""A checkpoint loads elsewhere, goes on where it stopped, holds no pickle, and says which file is damaged."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from textrl_env import AdaptiveKL, InputError, KLShaping
from textrl_env.agents import PPO, ActorCriticLM

V = 8


def state(ppo: PPO) -> list[torch.Tensor]:
    entries = sorted(ppo.optimizer.state_dict()["state"].items())
    moments = [value.clone() for _, entry in entries for _, value in sorted(entry.items())]
    return [*(parameter.detach().clone() for parameter in ppo.policy.parameters()), *moments]


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_training_goes_on_identically_after_a_load(make_ppo: Any, tmp_path: Path, critic: Any) -> None:
    shaping = KLShaping(0.1, "sampled", pay="episode", controller=AdaptiveKL(target=1e-6, horizon=100))
    first = make_ppo(critic=critic, env={"kl": shaping}).learn(total_updates=2)
    assert first.save(tmp_path / "run") == tmp_path / "run"
    second = make_ppo(critic=critic, env={"kl": shaping}, seed=9).load(tmp_path / "run")
    assert (second.num_timesteps, second.n_updates) == (first.num_timesteps, 2)
    kept = first.env.kl_coef
    assert second.env.kl_coef == kept != 0.1
    for ppo in (first, second):
        # The environment's own generators are not part of the checkpoint.
        ppo.env.reset(seed=5)
        ppo.learn(total_updates=2)
    assert all(torch.equal(one, other) for one, other in zip(state(first), state(second), strict=True))
    assert first.num_timesteps == second.num_timesteps
    assert first.env.kl_coef == second.env.kl_coef != kept


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_the_policy_loads_as_a_causal_lm_and_the_agent_with_its_critic(
    make_model: Any, tmp_path: Path, kind: str, critic: Any
) -> None:
    agent = ActorCriticLM(make_model(kind), vocab_size=V, critic=critic)
    torch.nn.init.normal_(agent.value_head.weight, generator=torch.Generator().manual_seed(0))
    if agent.critic_trunk is not None:
        with torch.no_grad():
            next(agent.critic_trunk.parameters()).add_(0.5)
    agent.save_pretrained(tmp_path)
    model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "policy", output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["missing_keys"]
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model.eval()(ids).logits, agent.policy(ids).logits)
    again = ActorCriticLM.from_pretrained(tmp_path, critic=critic)
    for name, value in agent.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    plain = ActorCriticLM.from_pretrained(tmp_path / "policy", critic=critic)
    assert not plain.value_head.weight.any()


def test_there_is_no_pickle_in_the_folder_and_no_temporary_one_beside_it(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo().learn(total_updates=1)
    ppo.save(tmp_path / "run")
    ppo.save(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        data = path.read_bytes()
        assert not zipfile.is_zipfile(io.BytesIO(data))
        assert data[:1] != b"\x80"


@pytest.mark.parametrize("file", ["policy/model.safetensors", "trainer/optimizer.safetensors", "trainer/state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_file_is_named(make_ppo: Any, tmp_path: Path, file: str, damage: str) -> None:
    make_ppo().learn(total_updates=1).save(tmp_path / "run")
    path = tmp_path / "run" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    match damage:
        case "flip":
            path.write_bytes(data)
        case "cut":
            path.write_bytes(path.read_bytes()[:-3])
        case "remove":
            path.unlink()
    other = make_ppo(seed=1)
    before = state(other)
    with pytest.raises(InputError, match=f"{file} is missing or damaged"):
        other.load(tmp_path / "run")
    assert all(torch.equal(one, now) for one, now in zip(before, state(other), strict=True))


def test_a_folder_without_a_manifest_or_with_a_broken_one_is_named(make_ppo: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint here"):
        make_ppo().load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"policy')
    with pytest.raises(InputError, match=r"manifest\.json"):
        make_ppo().load(tmp_path)
    with pytest.raises(InputError, match="no model here"):
        ActorCriticLM.from_pretrained(tmp_path)
