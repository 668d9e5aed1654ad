"""PPO against the exact optimum of a world small enough to enumerate."""

from typing import Any

import numpy as np
import pytest

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.oracle import evaluate, solve
from textrl_env.prefix_logprobs import prefix_logprobs
from textrl_env.reference import FrozenReference
from textrl_env.worlds.enumerable import EnumerableWorld

WORLD = EnumerableWorld(vocab_size=8, horizon=4, n_prompts=2)


def objective(model: Any, reference: Any, coef: float) -> tuple[float, float, float]:
    """Mean over the prompts of the policy's, the reference's and the best objective."""
    totals = []
    for prompt in WORLD.prompts:
        tree, ids = WORLD.tree(prompt), np.array(WORLD.tokenizer.encode(prompt))
        log_policy = prefix_logprobs(model, ids, tree, vocab_size=8)
        log_reference = prefix_logprobs(reference, ids, tree, vocab_size=8)
        totals.append((
            evaluate(tree, log_policy, log_reference, coef=coef).objective,
            evaluate(tree, log_reference, log_reference, coef=coef).objective,
            solve(tree, log_reference, coef=coef).objective,
        ))  # fmt: skip
    mine, start, best = np.mean(totals, axis=0)
    return float(mine), float(start), float(best)


@pytest.mark.slow
@pytest.mark.parametrize("coef", [0.1, 1.0])
def test_ppo_closes_nine_tenths_of_the_gap_and_never_exceeds_the_optimum(coef: float, untied_gpt2: Any) -> None:
    model = untied_gpt2
    reference = FrozenReference(model, vocab_size=8)
    env = TextGenVectorEnv(
        WORLD.prompts, WORLD.reward, WORLD.tokenizer, num_envs=256, autoreset_mode="Disabled", max_new_tokens=4,
        kl=KLShaping(coef, "sampled", pay="episode"), reference=reference,
    )  # fmt: skip
    ppo = PPO(
        ActorCriticLM(model, vocab_size=8), env, learning_rate=lambda remaining: 1e-3 * remaining, n_episodes=256,
        batch_size=64, n_epochs=4, gae_lambda=1.0, seed=0,
    )  # fmt: skip
    reached: list[float] = []

    def watch(*_: Any) -> bool:
        # Called at every step of the environment, four times an update.
        if not reached or ppo.n_updates % 10 == 0:
            mine, start, best = objective(model, reference.model, coef)
            assert mine <= best + 1e-6
            reached.append((mine - start) / (best - start))
        return True

    ppo.learn(total_updates=60, callback=watch)
    mine, start, best = objective(model, reference.model, coef)
    assert reached[0] == pytest.approx(0, abs=1e-6)
    assert best - start > 0.1
    assert start < mine <= best + 1e-6
    assert (mine - start) / (best - start) >= 0.9
    # What the environment pays is what the oracle measures.
    paid = ppo.rollout.rewards.sum(dim=1)
    assert abs(float(paid.mean()) - mine) < 5 * float(paid.std()) / 256**0.5 + 0.05
