"""The actor-critic language model and the algorithms that train it."""

from textrl_env.agents.actor_critic import ActorCriticLM
from textrl_env.agents.on_policy import OnPolicyAlgorithm, Targets
from textrl_env.agents.ppo import PPO
from textrl_env.agents.rollout import Rollout, collect

__all__ = ["PPO", "ActorCriticLM", "OnPolicyAlgorithm", "Rollout", "Targets", "collect"]
