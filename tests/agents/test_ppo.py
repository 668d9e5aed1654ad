"""PPO: the first update starts at ratio 1 and KL 0, runs are reproducible, and callbacks and errors work as in SB3."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from textrl_env import AdaptiveKL, InputError, KLShaping
from textrl_env.agents import PPO, ActorCriticLM, Batch, collect
from textrl_env.reference import FrozenReference

V = 8


def parameters(ppo: PPO) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in ppo.policy.parameters()]


def equal(mine: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("critic", ["separate", "shared"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(
    ("temperature", "rules"), [(1.0, {}), (0.7, {"min_new_tokens": 1}), (1.0, {"banned_tokens": [2, 5]})]
)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_first_update_has_ratio_one_and_no_kl(
    make_model: Any, make_env: Any, kind: str, critic: Any, dropout: float, temperature: float, rules: dict[str, Any]
) -> None:
    model = make_model(kind, dropout=dropout).train()
    agent = ActorCriticLM(model, vocab_size=V, critic=critic, temperature=temperature)
    env = make_env(model, temperature=temperature, **rules)
    ppo = PPO(agent, env, n_episodes=32, n_epochs=1, seed=1)
    ppo.policy.train()
    rollout = collect(env, agent, 32)
    assert rollout is not None
    assert len(set(rollout.completion_mask.sum(dim=1).tolist())) > 1
    assert abs(float(rollout.kl.mean())) <= 1e-6
    assert float(rollout.kl.abs().max()) <= 1e-5
    with torch.no_grad():
        targets = ppo.advantages(rollout)
    _, statistics = ppo.loss(Batch(rollout, targets, ppo.weights(rollout.completion_mask)))
    assert float(statistics["ratio"]) == pytest.approx(1, abs=1e-5)
    assert float(statistics["clip_fraction"]) == 0
    assert abs(float(statistics["approx_kl"])) <= 1e-6
    scored, entropies, values = agent.evaluate(rollout)
    mask = rollout.completion_mask
    torch.testing.assert_close(scored[mask], rollout.logprobs[mask], rtol=0, atol=1e-5)
    assert values is not None
    assert entropies is not None
    assert values.shape == entropies.shape == mask.shape


def test_values_and_entropies_are_those_of_single_unpadded_sequences(
    make_model: Any, make_env: Any, exact_logprobs: Any
) -> None:
    for kind, critic in (("gpt2", "separate"), ("llama", "shared"), ("gpt2", "shared"), ("llama", "separate")):
        agent = ActorCriticLM(make_model(kind), vocab_size=V, critic=critic)
        torch.nn.init.normal_(agent.value_head.weight, generator=torch.Generator().manual_seed(0))
        env = make_env()
        env.reset(seed=0)
        rollout = collect(env, agent, 8)
        assert rollout is not None
        slow = exact_logprobs(agent.policy)
        _, entropies, values = agent.evaluate(rollout)
        assert entropies is not None and values is not None
        after = agent.values(rollout, after=True)
        torch.testing.assert_close(agent.values(rollout), values, rtol=0, atol=1e-5)
        trunk = agent.critic_trunk if agent.critic_trunk is not None else agent.policy.base_model
        for row in range(8):
            prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
            completion = rollout.completion_ids[row][rollout.completion_mask[row]].tolist()
            expected = slow(prompt + completion)[len(prompt) - 1 : -1]
            n = len(completion)
            mine = entropies[row, :n].detach().double().numpy()
            np.testing.assert_allclose(mine, -(np.exp(expected) * expected).sum(1), atol=1e-5)
            with torch.no_grad():
                hidden = trunk(torch.tensor([prompt + completion])).last_hidden_state[0, len(prompt) - 1 :]
                single = agent.value_head(hidden)[:, 0]
            torch.testing.assert_close(values[row, :n].detach(), single[:-1], rtol=0, atol=1e-5)
            if n == rollout.completion_mask.shape[1]:
                torch.testing.assert_close(after[row], single, rtol=0, atol=1e-5)


def test_deterministic_predictions_are_the_likeliest_tokens(make_ppo: Any, exact_logprobs: Any) -> None:
    ppo = make_ppo()
    observation, _ = ppo.env.reset(seed=4)
    tokens, state = ppo.predict(observation, deterministic=True)
    assert state is None
    slow = exact_logprobs(ppo.policy.policy)
    for row in range(4):
        ids = observation["input_ids"][row][observation["attention_mask"][row] == 1]
        assert tokens[row] == slow(ids)[-1].argmax()


def test_training_moves_the_policy_and_not_the_reference(make_ppo: Any) -> None:
    ppo = make_ppo()
    before, reference = parameters(ppo), ppo.env.task.reference.model
    frozen = [parameter.clone() for parameter in reference.parameters()]
    ppo.learn(total_updates=2)
    assert equal(list(reference.parameters()), frozen)
    assert not equal(parameters(ppo), before)
    mine = {parameter.data_ptr() for parameter in ppo.policy.parameters()}
    assert mine.isdisjoint(parameter.data_ptr() for parameter in reference.parameters())


def test_one_seed_one_run(make_ppo: Any) -> None:
    first, again, other = (parameters(make_ppo(seed=seed).learn(total_updates=2)) for seed in (3, 3, 4))
    assert equal(first, again)
    assert not equal(first, other)


def test_no_global_generator_is_touched(make_ppo: Any) -> None:
    ppo = make_ppo()
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    ppo.learn(total_updates=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == before_numpy).all()  # type: ignore[index]


def test_every_critic_learns_and_gradients_stay_finite_under_masks(make_ppo: Any) -> None:
    for critic in ("separate", "shared"):
        ppo = make_ppo(critic=critic, ent_coef=0.1, clip_range_vf=0.2, env={"min_new_tokens": 2, "banned_tokens": [1]})
        ppo.learn(total_updates=2)
        assert all(parameter.isfinite().all() for parameter in ppo.policy.parameters())
        assert ppo.policy.value_head.weight.abs().sum() > 0


def test_cut_completions_bootstrap_from_the_value_after_them(make_ppo: Any) -> None:
    ppo = make_ppo(env={"length_limit": "cut"}, n_episodes=16)
    torch.nn.init.normal_(ppo.policy.value_head.weight, generator=torch.Generator().manual_seed(0))
    rollout = collect(ppo.env, ppo.policy, 16)
    assert rollout.truncated.any()
    assert not rollout.truncated.all()
    values, bootstrap = ppo.values(rollout)
    mask = rollout.completion_mask
    torch.testing.assert_close(values[mask], ppo.policy.values(rollout)[mask], rtol=0, atol=1e-5)
    for row in range(16):
        if not rollout.truncated[row]:
            assert bootstrap[row] == 0
            continue
        ids = torch.cat([rollout.prompt_ids[row][rollout.prompt_mask[row]], rollout.completion_ids[row]])
        with torch.no_grad():
            hidden = ppo.policy.critic_trunk(ids[None]).last_hidden_state[:, -1]
            assert float(bootstrap[row]) == pytest.approx(float(ppo.policy.value_head(hidden)), abs=1e-5)


class Counting(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.steps = self.starts = self.ends = self.tokens = 0

    def _on_rollout_start(self) -> None:
        self.starts += 1

    def _on_step(self) -> bool:
        self.steps += 1
        return True

    def _on_rollout_end(self) -> None:
        self.ends += 1
        self.tokens += self.model.rollout.n_tokens  # type: ignore[attr-defined]


def test_callbacks_are_called_and_timesteps_are_tokens(make_ppo: Any) -> None:
    ppo, counting = make_ppo(), Counting()
    assert ppo.learn(total_timesteps=60, callback=counting) is ppo
    assert counting.starts == counting.ends == ppo.n_updates
    assert ppo.num_timesteps == counting.tokens >= 60
    assert counting.tokens - ppo.rollout.n_tokens < 60
    assert counting.steps >= 2 * ppo.n_updates
    ppo.learn(total_updates=2, callback=[counting, Counting()])
    assert counting.ends == ppo.n_updates


def test_a_callback_that_returns_false_ends_training_before_an_update(make_ppo: Any) -> None:
    ppo = make_ppo()
    before, calls = parameters(ppo), []

    def stop(*_: Any) -> bool:
        calls.append(1)
        return len(calls) < 3

    ppo.learn(total_updates=5, callback=stop)
    assert len(calls) == 3
    assert ppo.n_updates == 0
    assert equal(parameters(ppo), before)


def test_an_update_drops_the_cache_of_the_old_parameters(make_ppo: Any, exact_logprobs: Any) -> None:
    ppo = make_ppo(learning_rate=0.05)
    ids, mask = np.array([[0, 0, 1, 2, 3]]), np.array([[0, 0, 1, 1, 1]], dtype=np.int8)

    class Act(Counting):
        def _on_rollout_end(self) -> None:
            ppo.predict({"input_ids": ids, "attention_mask": mask})

    ppo.learn(total_updates=1, callback=Act())
    grown = {"input_ids": np.array([[0, 1, 2, 3, 4]]), "attention_mask": np.array([[0, 1, 1, 1, 1]], dtype=np.int8)}
    tokens, logprobs = ppo.policy.act(grown, deterministic=True)
    assert logprobs[0] == pytest.approx(exact_logprobs(ppo.policy.policy)([1, 2, 3, 4])[-1, tokens[0]], abs=1e-5)


def test_the_learning_rate_schedule_falls_from_one_to_zero(make_ppo: Any) -> None:
    asked: list[float] = []

    def rate(remaining: float) -> float:
        asked.append(remaining)
        return 1e-3 * remaining

    make_ppo(learning_rate=rate).learn(total_updates=4)
    assert asked[-4:] == [1.0, 0.75, 0.5, 0.25]


def test_logged_numbers_are_those_of_the_rollout(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo(log_dir=tmp_path)
    ppo.learn(total_updates=2)
    row = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()][-1]
    rollout = ppo.rollout
    assert row["objective/scores"] == pytest.approx(float(rollout.scores.mean()), rel=1e-4)
    assert row["objective/kl"] == pytest.approx(float(rollout.kl.mean()), rel=1e-4)
    returns = rollout.rewards.sum(dim=1)
    assert row["rollout/ep_rew_mean"] == row["objective/rlhf_reward"] == pytest.approx(float(returns.mean()), rel=1e-4)
    expected = row["objective/scores"] - row["objective/kl_coef"] * row["objective/kl"]
    assert row["objective/rlhf_reward"] == pytest.approx(expected, abs=1e-4)
    assert row["rollout/ep_len_mean"] == pytest.approx(rollout.n_tokens / 8)
    assert {"train/approx_kl", "train/clip_fraction", "train/value_loss", "train/explained_variance"} <= set(row)
    assert len(list(csv.DictReader((tmp_path / "progress.csv").open()))) == 2


def test_an_adaptive_coefficient_moves_and_is_what_the_environment_pays(make_ppo: Any) -> None:
    shaping = KLShaping(0.1, "sampled", pay="episode", controller=AdaptiveKL(target=1e-6, horizon=100))
    ppo = make_ppo(env={"kl": shaping}, learning_rate=1e-2)
    ppo.learn(total_updates=3)
    assert ppo.env.kl_coef > 0.1


def test_a_reward_that_is_not_a_number_is_named(make_ppo: Any) -> None:
    def my_reward(prompts: list[str], completions: list[str]) -> list[float]:
        return [float("nan")] * len(prompts)

    with pytest.raises(InputError, match="my_reward returned nan for prompt"):
        make_ppo(env={"reward": my_reward}).learn(total_updates=1)


def test_a_loss_that_is_not_a_number_leaves_the_parameters_alone(make_ppo: Any) -> None:
    ppo = make_ppo()
    with torch.no_grad():
        ppo.policy.value_head.bias.fill_(float("nan"))
    before = parameters(ppo)
    with pytest.raises(InputError, match=r"loss is nan.* update 1"):
        ppo.learn(total_updates=1)
    assert all(
        torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(before, parameters(ppo), strict=True)
    )


def test_a_vocabulary_that_does_not_fit_names_both_sizes(make_model: Any, make_env: Any) -> None:
    agent = ActorCriticLM(make_model("gpt2", vocab_size=12), vocab_size=11)
    with pytest.raises(InputError, match=r"11 tokens.*\b8\b"):
        PPO(agent, make_env())
    with pytest.raises(InputError, match=r"knows 8 tokens, the tokenizer has 9"):
        ActorCriticLM(make_model("gpt2"), vocab_size=9)


def test_a_large_adam_eps_leaves_the_policy_where_it_is(make_ppo: Any) -> None:
    moved = {}
    for eps in (1e-8, 1e6):
        ppo = make_ppo(adam_eps=eps, max_grad_norm=float("inf"))
        before = torch.cat([value.detach().flatten() for value in ppo.policy.parameters()])
        ppo.learn(total_updates=1)
        after = torch.cat([value.detach().flatten() for value in ppo.policy.parameters()])
        moved[eps] = float((after - before).abs().max())
    assert moved[1e-8] > 1e-3 and moved[1e6] < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_range": 1.5}, r"clip_range must be in \(0, 1\), got 1.5"),
        ({"clip_range_vf": 0.0}, "clip_range_vf"),
        ({"gae_lambda": 1.1}, "gae_lambda .* 1.1"),
        ({"gamma": 0.0}, "gamma .* 0.0"),
        ({"n_episodes": 0}, "n_episodes .* 0"),
        ({"batch_size": 3}, "batch_size must divide n_episodes=8, got 3"),
        ({"n_epochs": 0}, "n_epochs .* 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm .* 0.0"),
        ({"adam_eps": 0.0}, "adam_eps .* 0.0"),
        ({"ent_coef": -1.0}, "ent_coef .* -1.0"),
        ({"vf_coef": float("nan")}, "vf_coef .* nan"),
    ],
)
def test_impossible_options_are_named(make_ppo: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_ppo(**options)


@pytest.mark.parametrize(
    "arguments", [{}, {"total_timesteps": 1, "total_updates": 1}, {"total_timesteps": 0}, {"total_updates": 0}]
)
def test_learn_takes_one_positive_length(make_ppo: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="total_"):
        make_ppo().learn(**arguments)


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_microbatches_give_the_gradients_of_the_whole_minibatch(make_ppo: Any, critic: Any) -> None:
    gradients = []
    for microbatch_size in (40, 7, 1):
        ppo = make_ppo(
            n_episodes=40, batch_size=40, n_epochs=1, microbatch_size=microbatch_size, ent_coef=0.1, critic=critic
        )
        ppo.optimizer.step = lambda: None
        ppo.learn(total_updates=1)
        assert len(set(ppo.rollout.completion_mask.sum(dim=1).tolist())) > 1
        gradients.append(torch.cat([p.grad.flatten() for p in ppo.policy.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_a_kl_term_in_the_loss_pulls_towards_its_reference(
    make_ppo: Any, make_model: Any, estimator: Any, exact_logprobs: Any
) -> None:
    """With a reward of nothing, the loss is the KL term alone, and the policy becomes the reference."""
    reference = FrozenReference(make_model("gpt2", seed=5), vocab_size=V)

    def distance(ppo: PPO) -> float:
        ours, theirs = (exact_logprobs(model)([3, 4])[-1] for model in (ppo.policy.policy, reference.model))
        return float((np.exp(ours) * (ours - theirs)).sum())

    nothing = {"reward": lambda prompts, completions: [0.0] * len(prompts)}
    options = {
        "kl_loss_coef": 1.0,
        "kl_loss_estimator": estimator,
        "reference": reference,
        "n_episodes": 64,
        "learning_rate": 3e-3,
    }
    ppo = make_ppo(env=nothing | {"kl": KLShaping(0.0, "sampled", pay="episode")}, batch_size=32, **options)
    before = distance(ppo)
    ppo.learn(total_updates=15)
    assert distance(ppo) < 0.5 * before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl_loss_coef": 0.1}, "reference"),
        ({"kl_loss_estimator": "k1"}, "k2"),
        ({"critic": "none"}, "critic"),
        ({"group_size": 3}, "group_size"),
        ({"microbatch_size": 0}, "microbatch_size"),
    ],
)
def test_options_that_do_not_go_together_are_named(make_ppo: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_ppo(**options)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_in_bfloat16_the_first_update_has_ratio_one_and_float32_parameters_learn(
    make_model: Any, make_env: Any, kind: str, critic: Any
) -> None:
    model = make_model(kind, width=64)
    agent = ActorCriticLM(model, vocab_size=V, critic=critic, precision="bfloat16")
    env = make_env(model, num_envs=8, precision="bfloat16")
    ppo = PPO(agent, env, n_episodes=32, n_epochs=1, seed=1)
    rollout = collect(env, agent, 32)
    assert rollout is not None
    # One token at a time and whole texts round alike but for the order of sums.
    assert float(rollout.kl.abs().max()) < 0.05
    with torch.no_grad():
        _, statistics = ppo.loss(Batch(rollout, ppo.advantages(rollout), ppo.weights(rollout.completion_mask)))
    assert float(statistics["ratio"]) == pytest.approx(1, abs=0.01)
    before = [parameter.clone() for parameter in agent.parameters()]
    ppo.learn(total_updates=1)
    assert all(parameter.dtype == torch.float32 for parameter in agent.parameters())
    assert any(not torch.equal(*pair) for pair in zip(before, agent.parameters(), strict=True))


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_a_critic_of_weight_0_may_be_infinitely_wrong(make_ppo: Any, critic: Any) -> None:
    """The squared error overflows; 0 times it would be NaN, and the policy with it."""
    ppo = make_ppo(critic=critic, vf_coef=0.0, normalize_advantage=False, gae_lambda=1.0)
    with torch.no_grad():
        ppo.policy.value_head.weight.fill_(1e25)
    values = ppo.values
    ppo.values = lambda rollout: tuple(torch.zeros_like(part) for part in values(rollout))
    before = torch.cat([value.detach().flatten() for value in ppo.policy.policy.parameters()])
    ppo.learn(total_updates=1)
    after = torch.cat([value.detach().flatten() for value in ppo.policy.policy.parameters()])
    assert after.isfinite().all() and not torch.equal(before, after)
    assert ppo.state.last_row["train/value_loss"] == math.inf and math.isfinite(ppo.state.last_row["train/loss"])


def test_a_loss_that_is_not_finite_is_named_before_anything_moves(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo(normalize_advantage=False)
    ppo.learn(total_updates=1)
    checkpoint = ppo.save(tmp_path / "good")
    with torch.no_grad():
        ppo.policy.value_head.weight.fill_(1e25)
    before = torch.cat([value.detach().flatten() for value in ppo.policy.parameters()])
    message = r"the loss is inf \(value_loss inf\), its gradient norm .* at update 2, minibatch 1, .*good"
    ppo.values = lambda rollout: tuple(torch.zeros_like(part) for part in (rollout.rewards, rollout.scores))
    with pytest.raises(InputError, match=message):
        ppo.learn(total_updates=1)
    assert torch.equal(before, torch.cat([value.detach().flatten() for value in ppo.policy.parameters()]))
    make_ppo().load(checkpoint)


@pytest.mark.parametrize("rate", [math.nan, math.inf, -1e-3])
def test_a_schedule_that_gives_no_learning_rate_is_refused_before_a_step(make_ppo: Any, rate: float) -> None:
    with pytest.raises(InputError, match="learning_rate must be"):
        make_ppo(learning_rate=lambda remaining: rate)
    ppo = make_ppo(learning_rate=lambda remaining: 1e-3 if remaining == 1 else rate)
    ppo.learn(total_updates=1)
    before = torch.cat([value.detach().flatten() for value in ppo.policy.parameters()])
    with pytest.raises(InputError, match="learning_rate must be"):
        ppo.learn(total_updates=2)
    moved = torch.cat([value.detach().flatten() for value in ppo.policy.parameters()])
    assert moved.isfinite().all() and not torch.equal(before, moved)
