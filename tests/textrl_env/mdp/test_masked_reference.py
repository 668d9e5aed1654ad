"""Where tokens may not be chosen, the reference is taken among those that may: an unchanged policy has a KL of 0."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, collect
from textrl_env.mdp import RecordEpisodes, reprice
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

V, C, EOS = 8, 5, 0
MASKS = {
    "banned": {"banned_tokens": [2, 5]},
    "no early end": {"min_new_tokens": 3},
    "two ends": {"min_new_tokens": 2, "eos_token_ids": [0, 4], "banned_tokens": [7]},
    "a subset": {"action_tokens": [6, 0, 3, 1], "min_new_tokens": 1},
}
WAYS = [("reference", "step"), ("reference", "episode"), ("sampled", "step"), ("sampled", "episode"), ("exact", "step")]


def zero(prompts: list[str], completions: list[str]) -> list[float]:
    return [0.0] * len(prompts)


def arguments(masks: str, mode: Any, pay: Any, reference: Any) -> dict[str, Any]:
    common = {"prompts": ["abc", "de"], "reward": zero, "tokenizer": LetterTokenizer(V), "max_new_tokens": C}
    return common | {"kl": KLShaping(0.5, mode, pay=pay), "reference": reference} | MASKS[masks]


def policy_among(env: TextGenEnv, observation: dict[str, Any], logprobs: Callable[[Any], np.ndarray]) -> np.ndarray:
    """(K,) log-probabilities of the actions, over those that are allowed: float64, uncached, unpadded."""
    ids = observation["input_ids"][observation["attention_mask"] == 1]
    rows = logprobs(ids)[-1][env.task.action_tokens]
    with np.errstate(divide="ignore"):
        weights = np.exp(rows) * env.action_masks()
        return np.log(weights / weights.sum())


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize(("mode", "pay"), WAYS)
def test_an_unchanged_policy_has_no_kl(masks: str, mode: str, pay: str, model: Any, exact_logprobs: Any) -> None:
    """The policy is masked by the test; in mode reference the payment is coef · its own log-probability."""
    env = TextGenEnv(**arguments(masks, mode, pay, FrozenReference(model, vocab_size=V)))
    rng, of_model = np.random.default_rng(0), exact_logprobs(model)
    for episode in range(8):
        observation, _ = env.reset(seed=episode)
        total, expected, over = 0.0, 0.0, False
        while not over:
            row = policy_among(env, observation, of_model)
            token = int(rng.choice(len(row), p=np.exp(row)))
            extra = {"sampled": {"logprob": row[token]}, "exact": {"logprobs": row}}.get(mode)
            observation, reward, *ends, info = env.step(token if extra is None else {"token": token, **extra})
            total, over = total + reward, any(ends)
            expected += 0.5 * row[token] if mode == "reference" else 0.0
        assert total == pytest.approx(expected, abs=1e-5)
        assert info.get("kl", 0.0) == pytest.approx(0, abs=1e-5)


class Table:
    """A reference of one distribution, as those that know nothing of masks are: no parameter `allowed`."""

    def __init__(self, probabilities: Any) -> None:
        with np.errstate(divide="ignore"):
            self.logprobs = np.log(probabilities)

    def decoder(self) -> "Table":
        return self

    def next_logprobs(self, input_ids: Any, attention_mask: Any, live: Any) -> np.ndarray:
        return np.tile(self.logprobs, (len(live), 1))

    def completion_logprobs(self, input_ids: Any, attention_mask: Any, n_tokens: int) -> np.ndarray:
        return self.logprobs[input_ids[:, -n_tokens:]]


@pytest.mark.parametrize("masks", MASKS)
def test_a_reference_that_takes_no_masks_is_paid_alike_by_step_and_by_episode(masks: str) -> None:
    reference = Table(np.random.default_rng(1).dirichlet(np.ones(V)))
    both = [
        TextGenVectorEnv(**arguments(masks, "sampled", pay, reference), num_envs=3, autoreset_mode="SameStep")
        for pay in ("step", "episode")
    ]
    rng, totals = np.random.default_rng(2), [np.zeros(3), np.zeros(3)]
    for env in both:
        env.reset(seed=0)
    for _ in range(30):
        tokens = np.array([rng.choice(np.flatnonzero(row)) for row in both[0].action_masks()])
        action = {"token": tokens, "logprob": -rng.random(3)}
        for env, total in zip(both, totals, strict=True):
            _, rewards, terminated, _, _ = env.step(action)
            total += rewards
        np.testing.assert_allclose(totals[0][terminated], totals[1][terminated], atol=1e-9)
    assert totals[0].all()


def test_payments_are_those_of_probabilities_divided_by_the_allowed_mass() -> None:
    probabilities = np.array([0.3, 0.1, 0.2, 0.05, 0.05, 0.1, 0.1, 0.1])
    env = TextGenEnv(**arguments("banned", "reference", "step", Table(probabilities)) | {"min_new_tokens": 1})
    env.reset(seed=0)
    # Neither end nor 2 nor 5 may come first: 0.4 is left; later 0.7.
    assert env.step(3)[1] == pytest.approx(0.5 * np.log(0.05 / 0.4))
    assert env.step(6)[1] == pytest.approx(0.5 * np.log(0.1 / 0.7))
    assert env.step(EOS)[1] == pytest.approx(0.5 * np.log(0.3 / 0.7))


@pytest.mark.parametrize(("mode", "pay"), WAYS)
def test_a_forbidden_token_that_the_reference_is_all_but_sure_of(mode: str, pay: str, make_model: Any) -> None:
    """Far below in float32 the others still have their proportions."""
    model = make_model("gpt2")
    head = torch.nn.Linear(model.config.n_embd, V)
    head.weight.data, head.bias.data = model.lm_head.weight.detach().clone(), 60.0 * torch.eye(V)[2]
    model.lm_head = head
    reference = FrozenReference(model, vocab_size=V)
    env = TextGenEnv(**arguments("banned", mode, pay, reference))
    plain = TextGenEnv(**arguments("banned", mode, pay, FrozenReference(make_model("gpt2"), vocab_size=V)))
    uniform = np.where(np.isin(np.arange(V), [2, 5]), -np.inf, -np.log(6)).astype(np.float32)
    extra = {"sampled": {"logprob": -1.0}, "exact": {"logprobs": uniform}}.get(mode)
    totals = []
    for either in (env, plain):
        either.reset(seed=0)
        steps = [either.step(token if extra is None else {"token": token, **extra}) for token in (1, 3, EOS)]
        totals.append(sum(step[1] for step in steps))
    assert np.isfinite(totals).all() and totals[0] == pytest.approx(totals[1], abs=1e-4)


@pytest.mark.parametrize(("mode", "pay"), WAYS)
def test_a_reference_that_gives_the_allowed_no_probability_is_named(mode: str, pay: str) -> None:
    sure = np.zeros(V)
    sure[2] = 1.0
    env = TextGenEnv(**arguments("banned", mode, pay, Table(sure)))
    env.reset(seed=0)
    uniform = np.where(np.isin(np.arange(V), [2, 5]), -np.inf, -np.log(6))
    extra = {"sampled": {"logprob": -1.0}, "exact": {"logprobs": uniform}}.get(mode)
    with pytest.raises(InputError, match=r"the reference Table .* slot 0 \(prompt \d"):
        env.step(EOS if extra is None else {"token": EOS, **extra})


@pytest.mark.parametrize("masks", ["banned", "no early end", "two ends"])
@pytest.mark.parametrize("pay", ["step", "episode"])
def test_a_fresh_agent_collects_at_no_kl_and_scores_what_it_sampled(masks: str, pay: str, model: Any) -> None:
    reference = FrozenReference(model, vocab_size=V)
    env = TextGenVectorEnv(**arguments(masks, "sampled", pay, reference), num_envs=4, autoreset_mode="Disabled")
    agent = ActorCriticLM(model, vocab_size=V)
    env.reset(seed=0)
    rollout = collect(env, agent, 12)
    assert rollout is not None
    mask = rollout.completion_mask
    assert rollout.kl.abs().max() < 1e-5 and rollout.rewards.abs().max() < 1e-5
    scored = agent.evaluate(rollout).logprobs
    assert (scored - rollout.logprobs)[mask].abs().max() < 1e-5
    ours = rollout.place(reference.following_logprobs(*rollout.states(), allowed=rollout.allowed_tokens()))
    assert (ours - rollout.logprobs)[mask].abs().max() < 1e-5
    whole = rollout.place(reference.following_logprobs(*rollout.states()))
    assert (whole - rollout.logprobs)[mask].abs().max() > 0.1


@pytest.mark.parametrize("pay", ["step", "episode"])
def test_the_first_update_is_at_ratio_one_and_kl_zero(pay: str, model: Any) -> None:
    masks = {"banned_tokens": [2, 5], "min_new_tokens": 2}
    options = arguments("banned", "sampled", pay, FrozenReference(model, vocab_size=V)) | masks
    env = TextGenVectorEnv(**options, num_envs=4, autoreset_mode="Disabled")
    agent = ActorCriticLM(model, vocab_size=V)
    ppo = PPO(agent, env, n_episodes=8, batch_size=8, n_epochs=1, learning_rate=1e-9, seed=0, verbose=0)
    ppo.learn(total_updates=1)
    tags = ppo.logger.name_to_value
    assert tags["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert tags["train/approx_kl"] == pytest.approx(0, abs=1e-6)
    assert tags["train/clip_fraction"] == 0


@pytest.mark.parametrize("masks", ["banned", "no early end", "two ends"])
def test_recorded_episodes_are_priced_with_the_masks(masks: str, model: Any) -> None:
    reference = FrozenReference(model, vocab_size=V)
    recorder = RecordEpisodes(TextGenEnv(**arguments(masks, "sampled", "step", reference)))
    rng, paid = np.random.default_rng(0), []
    for seed in range(10):
        recorder.reset(seed=seed)
        over, payments = False, []
        while not over:
            token = int(rng.choice(np.flatnonzero(recorder.unwrapped.action_masks())))  # type: ignore[attr-defined]
            _, reward, *ends, _ = recorder.step({"token": token, "logprob": -float(rng.random())})
            payments.append(reward)
            over = any(ends)
        paid.append(payments)
    ledgers = reprice(recorder.unwrapped.task, recorder.episodes, batch_size=4)  # type: ignore[attr-defined]
    for ledger, payments in zip(ledgers, paid, strict=True):
        np.testing.assert_allclose(ledger["kl"], payments, atol=1e-5)
    forbidding = TextGenEnv(**arguments("banned", "sampled", "step", reference) | {"banned_tokens": [1, 3, 6]})
    with pytest.raises(InputError, match=r"episode \d: the task forbids its token [136] there"):
        reprice(forbidding.task, recorder.episodes)


def test_without_masks_nothing_is_renormalised_and_old_signatures_do() -> None:
    """A table that does not sum to 1 is paid as it is, by step and by episode."""
    odd = Table(np.full(V, 0.01))
    for (mode, pay), _ in itertools.product(WAYS[:4], range(1)):
        common = {"prompts": ["abc"], "reward": zero, "tokenizer": LetterTokenizer(V), "max_new_tokens": 2}
        env = TextGenEnv(**common, kl=KLShaping(1.0, mode, pay=pay), reference=odd)  # type: ignore[arg-type]
        env.reset()
        reward = env.step({"token": EOS, "logprob": 0.0} if mode == "sampled" else EOS)[1]
        assert abs(reward) == pytest.approx(-np.log(0.01))
