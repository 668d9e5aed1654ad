"""Parameters of the networks in folders: saved, loaded, and a critic that starts as a reward model."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from textrl_env.agents.policy.networks import ActorCriticNetworks
from textrl_env.errors import LARGEST_NUMBER, InputError, require_at_least
from textrl_env.lm import load_config, load_model, load_tokenizer, resolve_model
from textrl_env.lm.adapters import has_adapters, load_adapters, save_model
from textrl_env.lm.loading import read_tensors, require_same_shapes
from textrl_env.training.distributed import sharded_like

HEAD_FILE = "value_head.safetensors"


def load_policy(path: Path, *, dtype: torch.dtype) -> Any:
    """Loads the causal LM of a folder, or of the `policy/` in a folder that `save_networks` wrote; on the CPU.

    Raises:
        InputError: no whole model there.
    """
    folder = resolve_model(path)
    return load_model(AutoModelForCausalLM, folder / "policy" if (folder / "policy").is_dir() else folder, dtype=dtype)


def load_critic(networks: ActorCriticNetworks, path: Path) -> None:
    """Takes the trunk and the head of the `critic/` in a folder that `save_networks` wrote, as far as there are any."""
    folder = path / "critic"
    if not folder.is_dir():
        return
    if networks.critic_trunk is not None:
        dtype = next(networks.policy.parameters()).dtype
        networks.critic_trunk = load_model(AutoModel, folder, dtype=dtype).eval().to(networks.device)
    _load_head(networks, folder)


def save_networks(networks: ActorCriticNetworks, path: Path) -> None:
    """Writes `policy/` and `critic/`, as `ActorCriticLM.save_pretrained` says."""
    save_model(networks.policy, path / "policy")
    if networks.value_head is None:
        return
    (path / "critic").mkdir(parents=True, exist_ok=True)
    if networks.critic_trunk is not None:
        save_model(networks.critic_trunk, path / "critic")
    head = {name: value.detach().contiguous() for name, value in networks.value_head.state_dict().items()}
    save_file(head, path / "critic" / HEAD_FILE)


def load_networks(networks: ActorCriticNetworks, path: Path) -> None:
    """Takes the parameters that `save_networks` wrote, bit for bit; adapters into adapters, shards into shards."""
    if has_adapters(networks.policy):
        load_adapters(networks.policy, path / "policy")
        if networks.critic_trunk is not None:
            load_adapters(networks.critic_trunk, path / "critic")
        _load_head(networks, path / "critic")
        return
    policy = load_policy(path, dtype=next(networks.policy.parameters()).dtype)
    saved_networks = ActorCriticNetworks(policy, vocab_size=networks.vocab_size, critic=networks.critic_kind)
    load_critic(saved_networks, path)
    require_same_shapes(path, saved_networks, networks)
    present = networks.state_dict()
    networks.load_state_dict(
        {name: sharded_like(value, present[name]) for name, value in saved_networks.state_dict().items()}
    )


def init_critic_from(agent: ActorCriticNetworks, folder: str | Path, tokenizer: Any) -> None:
    """Gives a separate critic the trunk and the head of a reward model, as InstructGPT does (Ouyang et al. 2022, 3.5).

    At a text's end token the critic then says the reward model's score. Before the end, where a critic is asked, a
    reward model has never been trained: what it says there is a guess.

    Args:
        agent: with `critic="separate"` and all weights trained.
        folder: a classifier with one label on the policy's architecture.
        tokenizer: the policy's.

    Raises:
        InputError: another kind of critic, no reward model, another tokenizer or another architecture.
    """
    if agent.critic_trunk is None or agent.value_head is None:
        raise InputError(f"only a critic='separate' can start as a reward model, this one is {agent.critic_kind!r}")
    if has_adapters(agent.policy):
        raise InputError("a critic of adapters shares the policy's frozen weights, and cannot start as a reward model")
    config = load_config(folder)
    if config.num_labels != 1 or not any("SequenceClassification" in name for name in config.architectures or ()):
        raise InputError(
            f"{folder}: no reward model (a sequence classifier with one label), but {config.architectures}"
        )
    if load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise InputError(
            f"{folder}: its tokens are not the policy's; train the reward model from the policy's SFT model"
        )
    classifier = load_model(
        AutoModelForSequenceClassification, folder, num_labels=1, dtype=agent.value_head.weight.dtype
    )
    require_same_shapes(folder, classifier.base_model, agent.critic_trunk)
    offset = getattr(config, "score_offset", 0.0)
    require_at_least(-LARGEST_NUMBER, **{f"{folder}: config.json: score_offset": offset})
    agent.critic_trunk.load_state_dict(classifier.base_model.state_dict())
    with torch.no_grad():
        agent.value_head.weight.copy_(classifier.score.weight)
        agent.value_head.bias.fill_(float(offset))


def _load_head(networks: ActorCriticNetworks, folder: Path) -> None:
    if networks.value_head is not None:
        values = read_tensors(folder / HEAD_FILE)
        head_shapes = {name: tuple(value.shape) for name, value in networks.value_head.state_dict().items()}
        if head_shapes != (shapes := {name: tuple(value.shape) for name, value in values.items()}):
            raise InputError(f"{folder / HEAD_FILE}: expected a value head of {head_shapes}, found {shapes}")
        networks.value_head.load_state_dict(values)
