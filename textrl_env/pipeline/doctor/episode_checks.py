"""Checks that episodes run to their end, and that the environment's book-keeping of them adds up."""

import numpy as np

from textrl_env.checks import Finding, check, pass_or_fail
from textrl_env.pipeline.doctor.file_checks import end_and_padding, vocabularies_fit
from textrl_env.pipeline.doctor.reward_model_checks import padding_and_batch
from textrl_env.pipeline.doctor.setup import KL_COEF, TrainingSetup


@check(
    "episodes can be sampled",
    consequence="a run that dies in its first rollout",
    remedy="look at the model: its weights hold NaN, or its code does not run; the message says which",
    needs=(vocabularies_fit, end_and_padding),
)
def episodes_run(setup: TrainingSetup) -> Finding:
    """Episodes as PPO would sample them run to their end, with finite log-probabilities."""
    rollout, end_share = setup.episodes.rollout, setup.episodes.end_share
    lengths = rollout.completion_mask.sum(dim=1)
    return Finding(
        pass_or_fail(bool(rollout.logprobs.isfinite().all())),
        f"{len(rollout)} episodes of {lengths.min()} to {lengths.max()} tokens, {end_share:.0%} ended by themselves",
    )


@check(
    "rewards add up",
    consequence="an agent that is trained on another reward than the one that is logged",
    remedy="the environment or its reward function is at fault: compare info['reward_terms'] with the reward by step",
    needs=(episodes_run, padding_and_batch),
)
def rewards_add_up(setup: TrainingSetup) -> Finding:
    """Terms make the reward of a step, steps make score - coef · KL, and the score is the reward model's own."""
    episodes = setup.scored_episodes
    rollout = episodes.rollout
    totals = rollout.rewards.sum(dim=1).numpy()
    gaps = {
        "terms and reward": np.abs(episodes.terms - episodes.rewards).max(),
        "token rewards and score less KL": np.abs(totals - (rollout.scores - KL_COEF * rollout.kl).numpy()).max(),
        "all rewards and all token rewards": abs(episodes.rewards.sum() - totals.sum()) / len(rollout),
    }
    if setup.judge is not None:
        scores = setup.judge.score(*episodes.texts)
        gaps["score and the reward model's"] = np.abs(rollout.scores.numpy() - scores).max()
    bound = setup.tolerance * max(1.0, float(rollout.scores.abs().max()), float(rollout.kl.abs().max()))
    differences = ", ".join(f"{name} differ by {gap:.1e}" for name, gap in gaps.items())
    adds_up = all(gap <= bound for gap in gaps.values())
    return Finding(pass_or_fail(adds_up), f"{differences}; {bound:.1e} allowed")


@check(
    "some token may always be chosen",
    consequence="a distribution of nothing but zeros, and NaN from there on",
    remedy="allow more tokens: see banned_tokens and min_new_tokens",
    needs=(episodes_run,),
)
def masks_never_empty(setup: TrainingSetup) -> Finding:
    """Steps of the sampled episodes all offer a token."""
    fewest = int(setup.episodes.choices.min())
    return Finding(pass_or_fail(fewest > 0), f"{fewest} of {len(setup.policy.tokenizer)} tokens at least")
