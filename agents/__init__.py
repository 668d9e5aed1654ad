"""The actor-critic language model and the algorithms that train it.

Names are loaded when they are first used: the options of the command line must not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textrl_env.agents.a2c import A2C
    from textrl_env.agents.actor_critic import ActorCriticLM
    from textrl_env.agents.batch import Batch, Targets
    from textrl_env.agents.critic_init import init_critic_from
    from textrl_env.agents.dpo import train_dpo
    from textrl_env.agents.dpo_config import DPOConfig
    from textrl_env.agents.grpo import GRPO, DrGRPO
    from textrl_env.agents.kto import train_kto
    from textrl_env.agents.kto_config import KTOConfig
    from textrl_env.agents.llama import small_llama
    from textrl_env.agents.on_policy import OnPolicyAlgorithm
    from textrl_env.agents.ppo import PPO
    from textrl_env.agents.reinforce import REINFORCE
    from textrl_env.agents.rejection import RejectionSampling
    from textrl_env.agents.rloo import RLOO
    from textrl_env.agents.rollout import Rollout, collect
    from textrl_env.agents.sampling import sample_completions
    from textrl_env.agents.sft import train_sft
    from textrl_env.agents.sft_config import SFTConfig
    from textrl_env.agents.tokenizer import train_tokenizer
    from textrl_env.lora import with_lora

_MODULES = {
    "A2C": "a2c",
    "GRPO": "grpo",
    "PPO": "ppo",
    "REINFORCE": "reinforce",
    "RLOO": "rloo",
    "ActorCriticLM": "actor_critic",
    "Batch": "batch",
    "DPOConfig": "dpo_config",
    "DrGRPO": "grpo",
    "KTOConfig": "kto_config",
    "OnPolicyAlgorithm": "on_policy",
    "RejectionSampling": "rejection",
    "Rollout": "rollout",
    "SFTConfig": "sft_config",
    "Targets": "batch",
    "collect": "rollout",
    "init_critic_from": "critic_init",
    "sample_completions": "sampling",
    "small_llama": "llama",
    "train_dpo": "dpo",
    "train_kto": "kto",
    "train_sft": "sft",
    "train_tokenizer": "tokenizer",
    "with_lora": ".lora",  # of textrl_env: reward models take adapters too
}

__all__ = [
    "A2C",
    "GRPO",
    "PPO",
    "REINFORCE",
    "RLOO",
    "ActorCriticLM",
    "Batch",
    "DPOConfig",
    "DrGRPO",
    "KTOConfig",
    "OnPolicyAlgorithm",
    "RejectionSampling",
    "Rollout",
    "SFTConfig",
    "Targets",
    "collect",
    "init_critic_from",
    "sample_completions",
    "small_llama",
    "train_dpo",
    "train_kto",
    "train_sft",
    "train_tokenizer",
    "with_lora",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
