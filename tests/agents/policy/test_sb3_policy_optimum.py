"""Stable-Baselines3's PPO on a causal LM beside ours, measured on a world small enough to enumerate."""

import copy
from typing import Any

import numpy as np
import pytest
import stable_baselines3
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.agents.policy import CausalLMPolicy
from textrl_env.oracle import LogPolicy, PrefixTree, evaluate, prefix_logprobs, solve, uniform_policy
from textrl_env.reference import FrozenReference
from textrl_env.sb3 import as_sb3_vec_env
from textrl_env.worlds import EnumerableWorld

WORLD = EnumerableWorld(vocab_size=8, horizon=3, n_prompts=4)
COEF, EPISODES = 0.05, 4096


def where_it_settles(tree: PrefixTree, log_reference: LogPolicy, coef: float) -> list[np.ndarray]:
    """π(a|s) ∝ exp(Q(s, a) / coef), Q the expected score + coef · log π_ref to come, without entropies to come."""
    following, policy = np.zeros(0), []
    for end, score, log_ref in reversed(list(zip(tree.ends, tree.scores, log_reference, strict=True))):
        q = score + coef * log_ref
        q[~end] += following
        exponents = (q - q.max(axis=1, keepdims=True)) / coef
        policy.append(exponents - np.log(np.exp(exponents).sum(axis=1, keepdims=True)))
        following = (np.exp(policy[-1]) * q).sum(axis=1)
    return policy[::-1]


def test_an_entropy_bonus_is_nearly_the_kl_objective_while_coef_is_small() -> None:
    """The share of the way from a uniform reference to the optimum, exactly; scores spread by about 1."""

    def share(coef: float) -> float:
        totals = []
        for prompt in WORLD.prompts:
            tree = WORLD.tree(prompt)
            uniform = uniform_policy(tree)
            start = evaluate(tree, uniform, uniform, coef=coef).objective
            settled = evaluate(tree, where_it_settles(tree, uniform, coef), uniform, coef=coef).objective
            totals.append((settled - start, solve(tree, uniform, coef=coef).objective - start))
        mine, best = np.sum(totals, axis=0)
        return float(mine / best)

    assert 0.998 < share(0.05) <= 1
    assert share(1.0) < 0


def share_closed(model: Any, reference: FrozenReference) -> float:
    """How much of the gap between the reference's objective and the best one a policy closes, exactly."""
    totals = []
    for prompt in WORLD.prompts:
        tree, ids = WORLD.tree(prompt), np.array(WORLD.tokenizer.encode(prompt))
        log_policy, log_reference = (prefix_logprobs(lm, ids, tree, vocab_size=8) for lm in (model, reference.model))
        start = evaluate(tree, log_reference, log_reference, coef=COEF).objective
        mine = evaluate(tree, log_policy, log_reference, coef=COEF).objective
        totals.append((mine - start, solve(tree, log_reference, coef=COEF).objective - start))
    mine, best = np.sum(totals, axis=0)
    return float(mine / best)


def falling(remaining: float) -> float:
    return 1e-3 * remaining


def with_ours(model: Any, reference: FrozenReference, seed: int) -> float:
    env = TextGenVectorEnv(
        WORLD.prompts,
        WORLD.reward,
        WORLD.tokenizer,
        num_envs=256,
        autoreset_mode="Disabled",
        max_new_tokens=3,
        kl=KLShaping(COEF, "sampled", pay="episode"),
        reference=reference,
    )
    agent = ActorCriticLM(copy.deepcopy(model), vocab_size=8)
    ppo = PPO(agent, env, learning_rate=falling, n_episodes=256, batch_size=64, n_epochs=4, gae_lambda=1.0, seed=seed)
    ppo.learn(total_updates=EPISODES // 256)
    return share_closed(agent.policy, reference)


def with_stock(model: Any, reference: FrozenReference, seed: int) -> float:
    """The same learning rate, passes and minibatches as `with_ours`: 256 slots, 3 tokens each, are 256 episodes."""
    env = TextGenVectorEnv(
        WORLD.prompts,
        WORLD.reward,
        WORLD.tokenizer,
        num_envs=256,
        autoreset_mode="SameStep",
        max_new_tokens=3,
        kl=KLShaping(COEF),
        reference=reference,
    )
    ppo = stable_baselines3.PPO(
        CausalLMPolicy,
        as_sb3_vec_env(env),
        policy_kwargs={"model": model},
        learning_rate=falling,
        n_steps=3,
        batch_size=192,
        n_epochs=4,
        gamma=1.0,
        gae_lambda=1.0,
        normalize_advantage=False,
        ent_coef=COEF,
        max_grad_norm=1.0,
        seed=seed,
        device="cpu",
    )
    ppo.learn(EPISODES * 3, callback=StopTrainingOnMaxEpisodes(EPISODES // 256))
    return share_closed(ppo.policy.lm.policy, reference)


@pytest.mark.slow
def test_stock_ppo_reaches_what_ours_reaches_at_equal_episodes(untied_gpt2: Any) -> None:
    model = untied_gpt2
    reference = FrozenReference(model, vocab_size=8)
    ours, stock = with_ours(model, reference, seed=0), with_stock(model, reference, seed=0)
    assert ours > 0.9
    assert stock >= 0.95 * ours
