"""A critic that starts as the reward model: it has already learned what the completions are worth."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from textrl_env.agents.policy.actor_critic import ActorCriticLM
from textrl_env.errors import InputError
from textrl_env.lm import load_config, load_model, load_tokenizer
from textrl_env.lm.adapters import has_adapters


def init_critic_from(agent: ActorCriticLM, folder: str | Path, tokenizer: Any) -> None:
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
    classifier = load_model(AutoModelForSequenceClassification, folder, dtype=agent.value_head.weight.dtype)
    mine, its = _shapes(agent.critic_trunk), _shapes(classifier.base_model)
    if mine != its:
        name = next(name for name in [*mine, *its] if mine.get(name) != its.get(name))
        raise InputError(
            f"{folder}: another architecture than the policy's: {name} is {its.get(name, 'not there')}, the policy's "
            f"{mine.get(name, 'not there')}; train the reward model from the policy's SFT model, with all its layers"
        )
    agent.critic_trunk.load_state_dict(classifier.base_model.state_dict())
    with torch.no_grad():
        agent.value_head.weight.copy_(classifier.score.weight)
        agent.value_head.bias.fill_(float(getattr(config, "score_offset", 0.0)))


def _shapes(trunk: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in trunk.state_dict().items()}
