"""Expected gradients, exactly: over all groups of completions of a world that has seven, weighted by probability."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from textrl_env import InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import (
    A2C,
    GRPO,
    REINFORCE,
    RLOO,
    ActorCriticLM,
    Batch,
    DrGRPO,
    OnPolicyAlgorithm,
    RejectionSampling,
    Rollout,
)
from textrl_env.reference import FrozenReference
from textrl_env.worlds import EnumerableWorld, OptimumGap

COEF = 0.3


@dataclass
class Enumeration:
    """All completions of a one-prompt world, the policy that samples them and the reference it is held to."""

    world: EnumerableWorld
    agent: ActorCriticLM
    reference: FrozenReference
    completions: Rollout

    def algorithm(self, make: Any, *, in_loss: bool = False, **options: Any) -> Any:
        env = TextGenVectorEnv(
            self.world.prompts,
            self.world.reward,
            self.world.tokenizer,
            autoreset_mode="Disabled",
            max_new_tokens=self.world.horizon,
            kl=KLShaping(COEF, "sampled"),
            reference=self.reference,
            num_envs=2,
        )
        kl = {"kl_loss_coef": COEF, "reference": self.reference} if in_loss else {}
        return make(self.agent, env, **{"n_episodes": 12, **kl, **options})

    def logprobs(self) -> Tensor:
        """log π(y) of every completion, with gradients."""
        tokens = self.agent.evaluate(self.completions).logprobs
        return torch.where(self.completions.completion_mask, tokens, 0.0).sum(dim=1)

    def objective(self) -> Tensor:
        """E[score] - COEF · KL, summed over all completions."""
        logprobs = self.logprobs()
        tokens = self.completions.place(self.reference.following_logprobs(*self.completions.states()))
        references = torch.where(self.completions.completion_mask, tokens, 0.0).sum(dim=1)
        return (logprobs.exp() * (self.completions.scores - COEF * (logprobs - references))).sum()

    def gradient(self, value: Tensor) -> Tensor:
        """With respect to the parameters of the policy, in one row."""
        parts = torch.autograd.grad(value, list(self.agent.policy.parameters()))
        return torch.cat([part.flatten() for part in parts])

    def expected(self, algorithm: OnPolicyAlgorithm, size: int) -> Tensor:
        """Minus the gradient of an algorithm's loss, expected over all draws of `size` completions."""
        probabilities = self.logprobs().detach().exp().double()
        total: Any = 0.0
        for draw in product(range(len(self.completions)), repeat=size):
            rollout = self.completions[torch.tensor(draw)]
            with torch.no_grad():
                targets = algorithm.advantages(rollout)
                if algorithm.kl_loss_coef:
                    targets = type(targets)(
                        targets.advantages,
                        ref_logprobs=rollout.place(self.reference.following_logprobs(*rollout.states())),
                    )
            loss, _ = algorithm.loss(Batch(rollout, targets, algorithm.weights(rollout.completion_mask)))
            total = total - probabilities[list(draw)].prod() * loss
        return self.gradient(total)


@pytest.fixture
def enumeration(make_model: Any) -> Callable[..., Enumeration]:
    def make(*, horizon: int = 2, kl_in_rewards: bool = True) -> Enumeration:
        world = EnumerableWorld(vocab_size=3, horizon=horizon, n_prompts=1, seed=2)
        (prompt,) = world.prompts
        agent = ActorCriticLM(make_model("gpt2", vocab_size=3, seed=3), vocab_size=3, critic="separate")
        torch.nn.init.normal_(agent.value_head.weight, generator=torch.Generator().manual_seed(0))
        reference = FrozenReference(make_model("gpt2", vocab_size=3, seed=0), vocab_size=3)
        tree = world.tree(prompt)
        finished = [
            ([*prefix, token], score[token])
            for prefixes, ends, scores in zip(tree.prefixes, tree.ends, tree.scores, strict=True)
            for prefix, end, score in zip(prefixes.tolist(), ends, scores, strict=True)
            for token in np.flatnonzero(end)
        ]
        n, lengths = len(finished), torch.tensor([len(ids) for ids, _ in finished])
        ids = torch.tensor([ids + [0] * (horizon - len(ids)) for ids, _ in finished])
        mask = torch.arange(horizon) < lengths[:, None]
        prompt_ids = torch.tensor(world.tokenizer.encode(prompt)).expand(n, -1)
        scores = torch.tensor([score for _, score in finished], dtype=torch.float32)
        bare = Rollout(
            prompt_ids,
            torch.ones_like(prompt_ids, dtype=torch.bool),
            ids,
            mask,
            torch.zeros(n, horizon),
            torch.zeros(n, horizon),
            scores,
            torch.zeros(n),
            torch.zeros(n, dtype=torch.bool),
            torch.zeros(n, dtype=torch.long),
        )
        with torch.no_grad():
            logprobs = agent.evaluate(bare).logprobs
            ratio = torch.where(mask, logprobs - bare.place(reference.following_logprobs(*bare.states())), 0.0)
        rewards = -COEF * ratio * kl_in_rewards
        rewards[torch.arange(n), lengths - 1] += scores
        fields = bare.__dict__ | {"logprobs": logprobs, "rewards": rewards, "kl": ratio.sum(dim=1)}
        return Enumeration(world, agent, reference, Rollout(**fields))

    return make


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def test_the_objective_is_the_oracles(enumeration: Any) -> None:
    all_of = enumeration()
    assert len(all_of.completions) == 7
    assert float(all_of.logprobs().detach().exp().sum()) == pytest.approx(1, abs=1e-5)
    exact = OptimumGap(all_of.world, all_of.reference.model, coef=COEF).measure(all_of.agent.policy)
    assert float(all_of.objective().detach()) == pytest.approx(exact.policy, abs=1e-5)
    assert exact.best - exact.policy > 0.1


@pytest.mark.parametrize(
    ("make", "size", "options"),
    [
        (REINFORCE, 2, {}),
        (RLOO, 2, {"group_size": 2}),
        (RLOO, 3, {"group_size": 3}),
        (A2C, 1, {"gae_lambda": 1.0, "vf_coef": 0.0}),
    ],
)
def test_the_expected_gradient_is_that_of_the_objective(
    enumeration: Any, make: Any, size: int, options: dict[str, Any]
) -> None:
    all_of = enumeration()
    exact = all_of.gradient(all_of.objective())
    mine = all_of.expected(all_of.algorithm(make, **options), size)
    torch.testing.assert_close(mine, exact, rtol=0, atol=1e-4 * float(exact.abs().max()))


def test_dr_grpo_has_the_gradients_direction_and_grpo_has_not(enumeration: Any) -> None:
    all_of = enumeration()
    exact = all_of.gradient(all_of.objective())
    mine = all_of.expected(all_of.algorithm(DrGRPO, group_size=2), 2)
    scale = (1 - 1 / 2) / all_of.world.horizon
    torch.testing.assert_close(mine, scale * exact, rtol=0, atol=1e-4 * float(exact.abs().max()))
    assert cosine(all_of.expected(all_of.algorithm(GRPO, group_size=2), 2), exact) < 0.9


@pytest.mark.parametrize("part", ["advantages", "weights"])
def test_both_divisions_of_grpo_bend_its_gradient(enumeration: Any, part: str) -> None:
    all_of = enumeration()
    half = type("Half", (DrGRPO,), {part: getattr(GRPO, part)})
    exact = all_of.gradient(all_of.objective())
    assert cosine(all_of.expected(all_of.algorithm(half, group_size=2), 2), exact) < 0.97


def test_a_critic_that_errs_bends_the_gradient_below_lambda_one(enumeration: Any) -> None:
    all_of = enumeration()
    exact = all_of.gradient(all_of.objective())
    mine = all_of.expected(all_of.algorithm(A2C, gae_lambda=0.0, vf_coef=0.0), 1)
    assert cosine(mine, exact) < 0.9


def test_a_kl_term_in_the_loss_is_blind_to_where_a_token_leads(enumeration: Any) -> None:
    """One token long, it has the gradient of the objective; with two, the second's KL is no reason for the first."""
    for horizon, same in ((1, True), (2, False)):
        all_of = enumeration(horizon=horizon, kl_in_rewards=False)
        exact = all_of.gradient(all_of.objective())
        algorithm = all_of.algorithm(RLOO, in_loss=True, group_size=2)
        mine = all_of.expected(algorithm, 2)
        assert torch.allclose(mine, exact, rtol=0, atol=1e-4 * float(exact.abs().max())) is same
        assert same or cosine(mine, exact) < 0.97


def test_rejection_sampling_imitates_best_of_n(enumeration: Any) -> None:
    all_of = enumeration()
    logprobs, returns = all_of.logprobs(), all_of.completions.rewards.sum(dim=1)
    probability = logprobs.detach().exp()
    below = torch.stack([probability[returns < one].sum() for one in returns])
    best = (below + probability) ** 2 - below**2
    assert float(best.sum()) == pytest.approx(1, abs=1e-5)
    exact = all_of.gradient((best * all_of.logprobs()).sum())
    mine = all_of.expected(all_of.algorithm(RejectionSampling, group_size=2), 2)
    torch.testing.assert_close(mine, exact, rtol=0, atol=1e-4 * float(exact.abs().max()))


@pytest.mark.parametrize("make", [REINFORCE, RLOO, A2C, GRPO, DrGRPO, RejectionSampling])
def test_every_algorithm_learns_and_splits_its_batches(make: Any, make_model: Any, make_env: Any) -> None:
    def trained(**options: Any) -> Tensor:
        model = make_model("gpt2")
        agent = ActorCriticLM(model, vocab_size=8, critic="separate" if make.needs_critic else "none")
        make(agent, make_env(model), n_episodes=8, seed=0, **options).learn(total_updates=1)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    before = torch.cat([parameter.detach().flatten() for parameter in make_model("gpt2").parameters()])
    whole = trained()
    assert not torch.equal(whole, before)
    torch.testing.assert_close(trained(microbatch_size=3), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (REINFORCE, {"n_episodes": 1}, "n_episodes must be at least 2, got 1"),
        (RLOO, {"group_size": 1}, "group_size must be at least 2, got 1"),
        (GRPO, {"group_size": 1}, "group_size must be at least 2, got 1"),
        (DrGRPO, {"group_size": 5}, "group_size must divide n_episodes=12, got 5"),
        (GRPO, {"clip_range": 1.0}, r"clip_range must be in \(0, 1\), got 1.0"),
        (A2C, {"gae_lambda": 1.5}, r"gae_lambda must be in \[0, 1\], got 1.5"),
        (A2C, {"ent_coef": -1.0}, "ent_coef must be at least 0, got -1.0"),
        (RejectionSampling, {"group_size": 1}, "group_size must be at least 2, got 1"),
    ],
)
def test_an_impossible_option_is_named(enumeration: Any, make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        enumeration().algorithm(make, **options)
