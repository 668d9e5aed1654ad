"""PPO and rejection sampling against the exact optimum of a world small enough to enumerate.

The other on-policy algorithms meet the exact optimum on the ladder's rung "preferences", see `test_ladder.py`.
"""

from typing import Any

import pytest

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, RejectionSampling
from textrl_env.agents.on_policy import Schedule
from textrl_env.reference import FrozenReference
from textrl_env.worlds import EnumerableWorld, OptimumGap

WORLD = EnumerableWorld(vocab_size=8, horizon=4, n_prompts=2)


def falling(peak: float) -> Schedule:
    """A learning rate that falls linearly to 0."""
    return lambda remaining: peak * remaining


# Algorithm, options, coef, updates and the share of the gap to be closed.
CASES: dict[str, tuple[Any, dict[str, Any], float, int, float]] = {
    "PPO": (PPO, {"batch_size": 64, "gae_lambda": 1.0}, 0.1, 60, 0.9),
    "PPO, coef 1": (PPO, {"batch_size": 64, "gae_lambda": 1.0}, 1.0, 60, 0.9),
    "rejection sampling": (RejectionSampling, {"batch_size": 64, "group_size": 4}, 0.1, 20, 0.8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_gap_closes_and_the_optimum_is_never_exceeded(name: str, untied_gpt2: Any) -> None:
    make, options, coef, n_updates, share = CASES[name]
    model = untied_gpt2
    reference = FrozenReference(model, vocab_size=8)
    gap = OptimumGap(WORLD, reference.model, coef=coef)
    env = TextGenVectorEnv(
        WORLD.prompts,
        WORLD.reward,
        WORLD.tokenizer,
        num_envs=256,
        autoreset_mode="Disabled",
        max_new_tokens=4,
        kl=KLShaping(coef, "sampled", pay="episode"),
        reference=reference,
    )
    agent = ActorCriticLM(model, vocab_size=8, critic="separate" if make.needs_critic else "none")
    algorithm = make(agent, env, **{"learning_rate": falling(1e-3), "n_episodes": 256, "seed": 0} | options)
    reached: list[float] = []

    def watch(*_: Any) -> bool:
        # Called at every step of the environment, four times an update.
        if not reached or algorithm.n_updates % 10 == 0:
            reached.append(gap.measure(model).fraction)
            assert reached[-1] <= 1 + 1e-6
        return True

    algorithm.learn(total_updates=n_updates, callback=watch)
    last = gap.measure(model)
    assert reached[0] == pytest.approx(0, abs=1e-6)
    assert last.best - last.reference > 0.1
    assert share <= last.fraction <= 1 + 1e-6
    # What the environment pays is what the oracle measures.
    paid = algorithm.rollout.rewards.sum(dim=1)
    assert abs(float(paid.mean()) - last.policy) < 5 * float(paid.std()) / 256**0.5 + 0.05
