"""Checks on sampled episodes: policy, critic and reference are what they seem in any batch, and the books add up."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from textrl_env.agents import ActorCriticLM, Rollout
from textrl_env.checks import Finding, check, pass_or_fail
from textrl_env.data.text import pad_id
from textrl_env.pipeline.doctor.episodes import add_padding, strip_padding
from textrl_env.pipeline.doctor.file_checks import end_and_padding, vocabularies_fit
from textrl_env.pipeline.doctor.reward_model_checks import padding_and_batch
from textrl_env.pipeline.doctor.setup import KL_COEF, TrainingSetup
from textrl_env.reward_models import ModelReward

N_EPISODES = 8
"""Of those sampled, the episodes that are compared alone and in a batch."""
MOST_SIGMAS = 5.0
NEGLIGIBLE_NATS = 1e-3


@dataclass(frozen=True)
class TokenFigures:
    """Log-probabilities, entropies and values of a rollout's tokens: (B, C) each."""

    logprobs: Tensor
    entropies: Tensor
    values: Tensor


@torch.no_grad()
def evaluate_tokens(agent: ActorCriticLM, rollout: Rollout) -> TokenFigures:
    """Runs `agent.evaluate` in minibatches."""
    minibatches = torch.split(torch.arange(len(rollout)), N_EPISODES)
    parts = [agent.evaluate(rollout[rows]) for rows in minibatches]
    # The doctor asks for entropies and gives its agents a critic: nothing in the parts is None.
    columns = zip(*parts, strict=True)
    return TokenFigures(*(torch.cat(tensors) for tensors in columns))  # type: ignore[arg-type]


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
    "policy scores without dropout",
    consequence="ratios and advantages full of noise, since the update scores another network than was sampled from",
    remedy="call model.eval(), and make every layer obey it",
    needs=(episodes_run,),
)
def deterministic(setup: TrainingSetup) -> Finding:
    """Policy, critic and reference give the same figures twice."""
    batch = _select_first(setup.episodes.rollout)
    first, second = evaluate_tokens(setup.agent, batch), evaluate_tokens(setup.agent, batch)
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1).numpy()
    mask = torch.cat([batch.prompt_mask, batch.completion_mask], dim=1).to(torch.int8).numpy()
    width = batch.completion_ids.shape[1]
    passes = [torch.from_numpy(setup.frozen_reference.completion_logprobs(ids, mask, width)) for _ in range(2)]
    differences = {
        "policy": first.logprobs - second.logprobs,
        "critic": first.values - second.values,
        "reference": passes[0] - passes[1],
    }
    gaps = {name: float(gap[batch.completion_mask].abs().max()) for name, gap in differences.items()}
    message = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
    return Finding(pass_or_fail(all(gap == 0 for gap in gaps.values())), f"two passes differ by: {message}")


@check(
    "policy ignores padding and batch",
    consequence="log-probabilities that change with the other rows of a batch, which PPO takes for a change of the "
    "policy",
    remedy="a row's logits must follow from its own tokens, whatever the batch's size and what stands behind the row",
    needs=(deterministic,),
)
def policy_padding(setup: TrainingSetup) -> Finding:
    """Rows in a batch padded on both sides, and each alone without padding, have the same log-probabilities."""
    batch, together, alone = _evaluate_both_ways(setup)
    gap = _root_mean_square(together.logprobs - alone.logprobs, batch.completion_mask)
    return _hold(gap, setup.tolerance, "log-probabilities alone and in a padded batch")


@check(
    "critic ignores padding and batch",
    consequence="values, and so advantages, that change with the other rows of a batch",
    remedy="a row's states must follow from its own tokens, whatever the batch's size and what stands behind the row",
    needs=(deterministic,),
)
def critic_padding(setup: TrainingSetup) -> Finding:
    """Rows in a padded batch and alone have the same values, under a random head."""
    batch, together, alone = _evaluate_both_ways(setup)
    size = _root_mean_square(alone.values, batch.completion_mask)
    gap = _root_mean_square(together.values - alone.values, batch.completion_mask)
    return _hold(gap, setup.tolerance * max(1.0, size), "values alone and in a padded batch")


@check(
    "ratio is 1 at the start",
    consequence="a first update that clips or moves although nothing was learned: PPO's ratio is not new over old "
    "policy",
    remedy="the model's key-value cache and its full forward disagree: mend its code, or train it in float32",
    needs=(policy_padding,),
)
def ratio_is_one(setup: TrainingSetup) -> Finding:
    """The cached rollout and the update's forward have the same log-probabilities."""
    rollout = setup.episodes.rollout
    logprobs = evaluate_tokens(setup.agent, rollout).logprobs
    gap = _root_mean_square(logprobs - rollout.logprobs, rollout.completion_mask)
    return _hold(gap, setup.tolerance, "log-probabilities sampled and scored")


@check(
    "KL is 0 at the start",
    consequence="a penalty for being where training starts: the first updates go into copying the reference",
    remedy="start the policy from the reference's weights, with the same dtype and temperature",
    needs=(ratio_is_one,),
)
def kl_is_zero(setup: TrainingSetup) -> Finding:
    """The environment charged no KL for any token of the sampled episodes."""
    rollout = setup.episodes.rollout
    # Nothing else is paid in these episodes, and the coefficient is 1.
    gap = _root_mean_square(rollout.rewards, rollout.completion_mask)
    finding = _hold(gap, setup.tolerance, "log-probabilities of policy and reference")
    return replace(finding, message=f"{finding.message}; KL {float(rollout.kl.mean()):.1e} nats per completion")


@check(
    "sampled from what is scored",
    consequence="a policy gradient of the wrong distribution: temperature, top-k or top-p in sampling but not in "
    "scoring",
    remedy="sample from the softmax of the very logits that are scored, at the same temperature and masks",
    needs=(ratio_is_one,),
)
def samples_from_scores(setup: TrainingSetup) -> Finding:
    """The mean surprise of the sampled tokens is the mean entropy: their difference is a martingale.

    z = Σ d / √(Σ d²), d = -log π(a|s) - H(π(·|s)); a sampler that prefers likely tokens makes it negative.
    """
    rollout = setup.episodes.rollout
    figures = evaluate_tokens(setup.agent, rollout)
    surprise, entropy = -figures.logprobs[rollout.completion_mask], figures.entropies[rollout.completion_mask]
    excess = surprise - entropy
    sigmas = float(excess.sum() / (excess**2).sum().sqrt().clamp_min(1e-12))
    # Where the policy is all but certain, the differences are rounding errors and their sign means nothing.
    passes = abs(sigmas) <= MOST_SIGMAS or abs(float(excess.mean())) <= NEGLIGIBLE_NATS
    return Finding(
        pass_or_fail(passes),
        f"surprise {float(surprise.mean()):.3f} nats, entropy {float(entropy.mean()):.3f}: {sigmas:+.1f} standard "
        f"errors apart, {MOST_SIGMAS:.0f} allowed",
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
        scores = np.array(ModelReward(setup.judge)(*episodes.texts, **episodes.ids, tokenizer=setup.policy.tokenizer))
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


def _select_first(rollout: Rollout) -> Rollout:
    return rollout[torch.arange(min(N_EPISODES, len(rollout)))]


def _evaluate_both_ways(setup: TrainingSetup) -> tuple[Rollout, TokenFigures, TokenFigures]:
    """Returns some episodes, and their figures in one padded batch and one by one."""
    batch = _select_first(setup.episodes.rollout)
    width = batch.completion_ids.shape[1]
    wide = evaluate_tokens(setup.agent, add_padding(batch, pad_id(setup.policy.tokenizer)))
    rows = [evaluate_tokens(setup.agent, strip_padding(batch, row)) for row in range(len(batch))]
    together, alone = {}, {}
    for name in ("logprobs", "entropies", "values"):
        together[name] = getattr(wide, name)[:, :width]
        parts = [getattr(row, name) for row in rows]
        alone[name] = torch.cat([pad(part, (0, width - part.shape[1])) for part in parts])
    return batch, TokenFigures(**together), TokenFigures(**alone)


def _root_mean_square(values: Tensor, mask: Tensor) -> float:
    """Computes it over the tokens that count; the largest of many rounding errors would grow with their number."""
    return float((values[mask] ** 2).mean().sqrt())


def _hold(gap: float, bound: float, names: str) -> Finding:
    return Finding(pass_or_fail(gap <= bound), f"{names} differ by {gap:.1e} (root mean square), {bound:.1e} allowed")
