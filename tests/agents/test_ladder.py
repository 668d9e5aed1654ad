"""Every on-policy algorithm beside PPO climbs the ladder of `check_agent`; rejection sampling all rungs but one.

On the rungs without a KL term each is held near the policy it started from by a KL term in the loss: what has no
clipped ratio and no entropy bonus settles on a good answer before it has found the best one (docs/check_agent.md).
GRPO still does so on the rung "reverse" with one seed in seven: a fault would show with every seed, so there, and for
GRPO alone, one of three seeds has to pass.
"""

from typing import Any

import pytest

from textrl_env import TextGenVectorEnv
from textrl_env.agent_checker import LADDER, AgentReport, check_agent
from textrl_env.agents import (
    A2C,
    GRPO,
    REINFORCE,
    RLOO,
    ActorCriticLM,
    DrGRPO,
    OnPolicyAlgorithm,
    RejectionSampling,
    small_llama,
)
from textrl_env.reference import FrozenReference

# Completions per update, the first learning rate and the weight of that term. What steps once on a rollout needs small
# rollouts, and small steps: at 3e-3 some seeds of A2C and RLOO stay below the mark of one rung.
OPTIONS = {
    A2C: (32, 2e-3, 0.1),
    REINFORCE: (32, 2e-3, 0.1),
    RLOO: (32, 2e-3, 0.1),
    GRPO: (64, 3e-3, 0.05),
    DrGRPO: (64, 3e-3, 0.03),
    RejectionSampling: (64, 3e-3, 0.0),
}

UNSURE_SEEDS = (1, 2)


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

    def climb(seed: int, *left_out: str) -> AgentReport:
        ladder = [rung for rung in LADDER if rung.name not in left_out]
        return check_agent(
            make, seed=seed, ladder=ladder, num_envs=n_episodes, autoreset_mode="Disabled", kl_mode="sampled", verbose=0
        )

    report = climb(0, *(["reverse"] if algorithm is RejectionSampling else []))
    for seed in UNSURE_SEEDS if algorithm is GRPO else ():
        if report.failed == ["reverse"]:
            report = climb(seed, *(rung.name for rung in LADDER if rung.name != "reverse"))
    assert report.passed, str(report)
