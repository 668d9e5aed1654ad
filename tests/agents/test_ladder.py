"""The algorithms beside PPO climb the ladder of `check_agent`; `test_ppo_ladder.py` asks PPO all of it.

On the rungs without a KL term each is held near the policy it started from by a KL term in the loss: what has no
clipped ratio and no entropy bonus settles on a good answer before it has found the best one (docs/check_agent.md).
The lowest rung, whose fault every other one shows too, is left to PPO. The longest, "reverse", is asked of one
algorithm with a critic and of one that compares completions: GRPO fails it with one seed in seven, rejection sampling
with any. REINFORCE and Dr. GRPO are held to exact gradients in `test_policy_gradients.py` instead.
"""

from typing import Any

import pytest

from textrl_env import TextGenVectorEnv
from textrl_env.agent_checker import LADDER, check_agent
from textrl_env.agents import (
    A2C,
    GRPO,
    RLOO,
    ActorCriticLM,
    OnPolicyAlgorithm,
    RejectionSampling,
    small_llama,
)
from textrl_env.reference import FrozenReference

# Completions per update, the first learning rate and the weight of that term. What steps once on a rollout needs small
# rollouts, and small steps: at 3e-3 some seeds of A2C and RLOO stay below the mark of one rung.
OPTIONS = {
    A2C: (32, 2e-3, 0.1),
    RLOO: (32, 2e-3, 0.1),
    GRPO: (64, 3e-3, 0.05),
    RejectionSampling: (64, 3e-3, 0.0),
}

ON_REVERSE = (A2C, RLOO)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", OPTIONS)
def test_it_climbs_the_ladder(algorithm: Any) -> None:
    n_episodes, rate, held = OPTIONS[algorithm]

    def make(env: TextGenVectorEnv, seed: int) -> OnPolicyAlgorithm:
        tokenizer = env.task.tokenizer
        model = small_llama(tokenizer, hidden_size=32, heads=2, seed=seed)
        policy = ActorCriticLM(model, vocab_size=len(tokenizer), critic="shared" if algorithm.needs_critic else "none")
        made: OnPolicyAlgorithm = algorithm(
            policy,
            env,
            learning_rate=lambda remaining: rate * remaining,
            n_episodes=n_episodes,
            seed=seed,
            kl_loss_coef=0.0 if env.kl_coef else held,
            reference=FrozenReference(model, vocab_size=len(tokenizer)),
        )
        return made

    names = {"delayed credit", "copy", "preferences"} | ({"reverse"} if algorithm in ON_REVERSE else set())
    ladder = [rung for rung in LADDER if rung.name in names]
    assert len(ladder) == len(names)
    report = check_agent(
        make, seed=0, ladder=ladder, num_envs=n_episodes, autoreset_mode="Disabled", kl_mode="sampled", verbose=0
    )
    assert report.passed, str(report)
