"""Are sampling, scoring and the reference one distribution, whatever the padding and the batch?"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from textrl_env.agents import ActorCriticLM, Rollout
from textrl_env.cli.doctor.case import Case
from textrl_env.cli.doctor.check import Finding, check
from textrl_env.cli.doctor.padding import alone, padded
from textrl_env.cli.doctor.token_checks import end_and_padding, vocabularies_fit
from textrl_env.data.text import pad_id

N_COMPARED = 8
MOST_SIGMAS = 5.0
NEGLIGIBLE_NATS = 1e-3


@check(
    "episodes can be sampled",
    prevents="a run that dies in its first rollout",
    remedy="look at the model: its weights hold NaN, or its code does not run; the message says which",
    needs=(vocabularies_fit, end_and_padding),
)
def episodes_run(case: Case) -> Finding:
    """Episodes as PPO would sample them run to their end, with finite log-probabilities."""
    rollout, ended = case.episodes.rollout, case.episodes.ended
    lengths = rollout.completion_mask.sum(dim=1)
    told = f"{len(rollout)} episodes of {lengths.min()} to {lengths.max()} tokens, {ended:.0%} ended by themselves"
    return Finding(bool(rollout.logprobs.isfinite().all()), told)


@check(
    "policy scores without dropout",
    prevents="ratios and advantages full of noise, since the update scores another network than was sampled from",
    remedy="call model.eval(), and make every layer obey it",
    needs=(episodes_run,),
)
def deterministic(case: Case) -> Finding:
    """Policy, critic and reference, each asked twice."""
    batch = _first(case.episodes.rollout)
    gaps = {}
    first, second = evaluated(case.agent, batch), evaluated(case.agent, batch)
    gaps["policy"] = _largest(first[0] - second[0], batch.completion_mask)
    gaps["critic"] = _largest(first[2] - second[2], batch.completion_mask)
    ids = torch.cat([batch.prompt_ids, batch.completion_ids], dim=1).numpy()
    mask = torch.cat([batch.prompt_mask, batch.completion_mask], dim=1).to(torch.int8).numpy()
    asked = [torch.from_numpy(case.frozen.completion_logprobs(ids, mask, batch.completion_ids.shape[1])) for _ in "12"]
    gaps["reference"] = _largest(asked[0] - asked[1], batch.completion_mask)
    told = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
    return Finding(all(gap == 0 for gap in gaps.values()), f"two passes differ by: {told}")


@check(
    "policy ignores padding and batch",
    prevents="log-probabilities that change with the other rows of a batch, which PPO takes for a change of the policy",
    remedy="the model must use position_ids and attention_mask; absolute positions that ignore them count the padding",
    needs=(deterministic,),
)
def policy_padding(case: Case) -> Finding:
    """Rows in a batch padded on both sides, and each alone without padding."""
    batch, together, alone = _alone_and_together(case)
    gap = _root_mean_square(together[0] - alone[0], batch.completion_mask)
    return _within(gap, case.tolerance, "log-probabilities alone and in a padded batch")


@check(
    "critic ignores padding and batch",
    prevents="values, and so advantages, that change with the other rows of a batch",
    remedy="the critic's trunk must use position_ids and attention_mask",
    needs=(deterministic,),
)
def critic_padding(case: Case) -> Finding:
    """The same of the values, under a random head."""
    batch, together, alone = _alone_and_together(case)
    size = _root_mean_square(alone[2], batch.completion_mask)
    gap = _root_mean_square(together[2] - alone[2], batch.completion_mask)
    return _within(gap, case.tolerance * max(1.0, size), "values alone and in a padded batch")


@check(
    "ratio is 1 at the start",
    prevents="a first update that clips or moves although nothing was learned: PPO's ratio is not new over old policy",
    remedy="the model's key-value cache and its full forward disagree: mend its code, or train it in float32",
    needs=(policy_padding,),
)
def ratio_is_one(case: Case) -> Finding:
    """Log-probabilities of the cached rollout, and of the update's forward."""
    rollout = case.episodes.rollout
    gap = _root_mean_square(evaluated(case.agent, rollout)[0] - rollout.logprobs, rollout.completion_mask)
    return _within(gap, case.tolerance, "log-probabilities sampled and scored")


@check(
    "KL is 0 at the start",
    prevents="a penalty for being where training starts: the first updates go into copying the reference",
    remedy="start the policy from the reference's weights, with the same dtype and temperature",
    needs=(ratio_is_one,),
)
def kl_is_zero(case: Case) -> Finding:
    """By token, as the environment charged it for the sampled episodes."""
    rollout = case.episodes.rollout
    # Nothing else is paid in these episodes, and the coefficient is 1.
    gap = _root_mean_square(rollout.rewards, rollout.completion_mask)
    finding = _within(gap, case.tolerance, "log-probabilities of policy and reference")
    return Finding(finding.passed, f"{finding.measured}; KL {float(rollout.kl.mean()):.1e} nats per completion")


@check(
    "sampled from what is scored",
    prevents="a policy gradient of the wrong distribution: temperature, top-k or top-p in sampling but not in scoring",
    remedy="sample from the softmax of the very logits that are scored, at the same temperature and masks",
    needs=(ratio_is_one,),
)
def sampled_as_scored(case: Case) -> Finding:
    """The mean surprise of the sampled tokens is the mean entropy: their difference is a martingale.

    z = Σ d / √(Σ d²), d = -log π(a|s) - H(π(·|s)); a sampler that prefers likely tokens makes it negative.
    """
    rollout = case.episodes.rollout
    logprobs, entropies, _ = evaluated(case.agent, rollout)
    surprise, entropy = -logprobs[rollout.completion_mask], entropies[rollout.completion_mask]
    excess = surprise - entropy
    sigmas = float(excess.sum() / (excess**2).sum().sqrt().clamp_min(1e-12))
    # Where the policy is all but certain, the differences are rounding errors and their sign means nothing.
    passed = abs(sigmas) <= MOST_SIGMAS or abs(float(excess.mean())) <= NEGLIGIBLE_NATS
    return Finding(
        passed,
        f"surprise {float(surprise.mean()):.3f} nats, entropy {float(entropy.mean()):.3f}: {sigmas:+.1f} standard "
        f"errors apart, {MOST_SIGMAS:.0f} allowed",
    )


@torch.no_grad()
def evaluated(agent: ActorCriticLM, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
    """`agent.evaluate` in minibatches: log-probabilities, entropies and values, (B, C) each."""
    minibatches = torch.split(torch.arange(len(rollout)), N_COMPARED)
    parts = [agent.evaluate(rollout[rows]) for rows in minibatches]
    # The doctor asks for entropies and gives its agents a critic: nothing in the parts is None.
    logprobs, entropies, values = (torch.cat(tensors) for tensors in zip(*parts, strict=True))  # type: ignore[arg-type]
    return logprobs, entropies, values


def _first(rollout: Rollout) -> Rollout:
    return rollout[torch.arange(min(N_COMPARED, len(rollout)))]


def _alone_and_together(case: Case) -> tuple[Rollout, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Some episodes, and what `evaluated` says of them in one padded batch and one by one: (B, C) tensors."""
    batch = _first(case.episodes.rollout)
    width = batch.completion_ids.shape[1]
    together = evaluated(case.agent, padded(batch, pad_id(case.policy.tokenizer)))
    rows = [evaluated(case.agent, alone(batch, row)) for row in range(len(batch))]
    one_by_one = [torch.cat([pad(row, (0, width - row.shape[1])) for row in part]) for part in zip(*rows, strict=True)]
    return batch, tuple(part[:, :width] for part in together), tuple(one_by_one)


def _largest(difference: Tensor, mask: Tensor) -> float:
    return float(difference[mask].abs().max())


def _root_mean_square(values: Tensor, mask: Tensor) -> float:
    """Over the tokens that count; the largest of many rounding errors would grow with their number."""
    return float((values[mask] ** 2).mean().sqrt())


def _within(gap: float, allowed: float, what: str) -> Finding:
    return Finding(gap <= allowed, f"{what} differ by {gap:.1e} (root mean square), {allowed:.1e} allowed")
