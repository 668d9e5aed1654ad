"""Does the environment's book-keeping add up on real episodes?"""

import numpy as np

from textrl_env.cli.doctor.case import Case
from textrl_env.cli.doctor.check import Finding, check
from textrl_env.cli.doctor.gathering import KL_COEF
from textrl_env.cli.doctor.policy_checks import episodes_run
from textrl_env.cli.doctor.reward_model_checks import padding_and_batch


@check(
    "rewards add up",
    prevents="an agent that is trained on another reward than the one that is logged",
    remedy="the environment or its reward function is at fault: compare info['reward_terms'] with the reward by step",
    needs=(episodes_run, padding_and_batch),
)
def ledger_conserved(case: Case) -> Finding:
    """Terms make the reward of a step, steps make score - coef · KL, and the score is the reward model's own."""
    paid = case.paid_episodes
    rollout = paid.rollout
    totals = rollout.rewards.sum(dim=1).numpy()
    gaps = {
        "terms and reward": np.abs(paid.terms - paid.rewards).max(),
        "token rewards and score less KL": np.abs(totals - (rollout.scores - KL_COEF * rollout.kl).numpy()).max(),
        "all rewards and all token rewards": abs(paid.rewards.sum() - totals.sum()) / len(rollout),
    }
    if case.judge is not None:
        gaps["score and the reward model's"] = np.abs(rollout.scores.numpy() - case.judge.score(*paid.texts)).max()
    allowed = case.tolerance * max(1.0, float(rollout.scores.abs().max()), float(rollout.kl.abs().max()))
    told = ", ".join(f"{name} differ by {gap:.1e}" for name, gap in gaps.items())
    return Finding(all(gap <= allowed for gap in gaps.values()), f"{told}; {allowed:.1e} allowed")


@check(
    "some token may always be chosen",
    prevents="a distribution of nothing but zeros, and NaN from there on",
    remedy="allow more tokens: see banned_tokens and min_new_tokens",
    needs=(episodes_run,),
)
def masks_never_empty(case: Case) -> Finding:
    """Over all steps of the sampled episodes."""
    fewest = int(case.episodes.allowed.min())
    return Finding(fewest > 0, f"{fewest} of {len(case.policy.tokenizer)} tokens at least")
