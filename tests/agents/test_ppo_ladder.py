"""PPO passes every rung of `check_agent`; without credit through time it does not."""

from typing import Any

import pytest

from textrl_env import TextGenVectorEnv
from textrl_env.agent_checker import LADDER, AgentReport, check_agent
from textrl_env.agents import PPO, ActorCriticLM, small_llama
from textrl_env.reference import FrozenReference


def climb(*names: str, **options: Any) -> AgentReport:
    def make(env: TextGenVectorEnv, seed: int) -> PPO:
        tokenizer = env.task.tokenizer
        model = small_llama(tokenizer, hidden_size=32, heads=2, seed=seed)
        policy = ActorCriticLM(model, vocab_size=len(tokenizer), critic="shared")
        # Where the environment charges no KL, one in the loss keeps it from settling before it has found the best.
        held = 0.0 if env.kl_coef else 0.05
        reference = FrozenReference(model, vocab_size=len(tokenizer))
        defaults: dict[str, Any] = {"gae_lambda": 1.0, "normalize_advantage": False, "kl_loss_coef": held}
        return PPO(
            policy,
            env,
            learning_rate=lambda remaining: 3e-3 * remaining,
            n_episodes=128,
            seed=seed,
            reference=reference,
            **defaults | options,
        )

    ladder = [rung for rung in LADDER if not names or rung.name in names]
    return check_agent(make, ladder=ladder, num_envs=128, autoreset_mode="Disabled", kl_mode="sampled", verbose=0)


@pytest.mark.slow
def test_ppo_climbs_the_whole_ladder() -> None:
    report = climb()
    assert report.passed, str(report)


@pytest.mark.slow
def test_ppo_without_credit_through_time_falls_at_the_rung_that_asks_for_it() -> None:
    report = climb("bandit", "delayed credit", gamma=1e-6, gae_lambda=0.0)
    assert report.failed == ["delayed credit"], str(report)
