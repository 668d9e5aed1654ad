"""The estimators against sums over the vocabulary, the controllers, and what the environment books of them."""

import math
from typing import Any

import numpy as np
import pytest

from textrl_env import AdaptiveKL, FixedKL, InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.mdp.kl import ESTIMATORS, exact_kl, k1, k2, k3
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

V = 8


def zero(prompts: list[str], completions: list[str]) -> list[float]:
    return [0.0] * len(prompts)


def distributions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(V)), rng.dirichlet(np.full(V, 3.0))


@pytest.mark.parametrize("seed", range(5))
def test_k1_and_k3_are_unbiased_k2_and_k3_are_never_negative(seed: int) -> None:
    p, q = distributions(seed)
    divergence = math.fsum(p[a] * (math.log(p[a]) - math.log(q[a])) for a in range(V))
    expected = {name: math.fsum(p * ESTIMATORS[name](np.log(p), np.log(q))) for name in ESTIMATORS}
    assert expected["k1"] == pytest.approx(divergence, abs=1e-12)
    assert expected["k3"] == pytest.approx(divergence, abs=1e-12)
    assert abs(expected["k2"] - divergence) > 1e-4
    assert k1(np.log(p), np.log(q)).min() < 0
    for estimator in (k2, k3):
        assert estimator(np.log(p), np.log(q)).min() >= 0
        assert not estimator(np.log(p), np.log(p)).any()
    assert exact_kl(np.log(p), np.log(q)) == pytest.approx(divergence, abs=1e-12)
    assert divergence > 0


def test_the_estimators_agree_to_second_order_where_the_policies_are_close() -> None:
    logprob = np.log(0.3)
    for estimator in (k2, k3):
        assert estimator(logprob, logprob + 1e-3) == pytest.approx(0.5e-6, rel=1e-2)
    assert k3(np.float64(-1), np.float64(-1) + 1e-9) >= 0


def test_exact_kl_takes_impossible_tokens_and_leading_axes() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    with np.errstate(divide="ignore"):
        assert exact_kl(np.log(p), np.log(q)) == pytest.approx(math.log(2))
        stacked = exact_kl(np.log(np.stack([[p, q]])), np.log(np.stack([[q, q]])))
    assert stacked.shape == (1, 2)
    assert stacked[0] == pytest.approx([math.log(2), 0.0])
    both = np.array([0.0, -np.inf])
    assert exact_kl(both, both) == 0


def test_adaptive_kl_steers_towards_its_target_by_a_bounded_amount() -> None:
    controller = AdaptiveKL(target=2.0, horizon=100)
    assert controller.update(0.5, kl=2.0, episodes=10) == 0.5
    assert controller.update(0.5, kl=2.2, episodes=10) == pytest.approx(0.505)
    assert controller.update(0.5, kl=1.8, episodes=10) == pytest.approx(0.495)
    assert controller.update(0.5, kl=1e9, episodes=10) == pytest.approx(0.51)
    assert controller.update(0.5, kl=-1e9, episodes=10) == pytest.approx(0.49)
    assert FixedKL().update(0.5, kl=1e9, episodes=10) == 0.5


def test_the_environment_steers_its_coefficient_with_the_kl_of_finished_episodes(make_model: Any) -> None:
    shaping = KLShaping(0.5, "sampled", controller=AdaptiveKL(target=1.0, horizon=10))
    env = TextGenEnv(
        ["ab"], zero, LetterTokenizer(V), kl=shaping, reference=FrozenReference(make_model("gpt2"), vocab_size=V)
    )
    paid = []
    for _ in range(3):
        env.reset(seed=0)
        steps = [env.step({"token": token, "logprob": -0.01}) for token in (1, 0)]
        paid.append(sum(step[1] for step in steps))
        # Far above the target: 2 % up after each episode.
        assert steps[-1][4]["kl"] > 1.2
    assert [later / paid[0] for later in paid] == pytest.approx([1, 1.02, 1.02**2], rel=1e-5)


def test_a_coefficient_that_is_held_changes_once_by_what_is_known_of_all(make_model: Any) -> None:
    shaping = KLShaping(0.5, "sampled", controller=AdaptiveKL(target=1.0, horizon=10))
    reference = FrozenReference(make_model("gpt2"), vocab_size=V)
    env = TextGenVectorEnv(
        ["ab"], zero, LetterTokenizer(V), num_envs=2, autoreset_mode="SameStep", kl=shaping, reference=reference
    )
    action = {"token": np.zeros(2, dtype=np.int64), "logprob": np.full(2, -0.01, dtype=np.float32)}
    env.reset(seed=0)
    with env.hold_kl_coef():
        env.step(action)
        assert env.kl_coef == 0.5
    env.control_kl(kl=9.0, episodes=2)
    assert env.kl_coef == pytest.approx(0.5 * (1 + 0.2 * 2 / 10))
    env.step(action)
    assert env.kl_coef > 0.53


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("pay", ["step", "episode"])
def test_the_coefficient_is_all_that_a_resumed_run_needs(num_envs: int, pay: Any, make_model: Any) -> None:
    """Steered on from a coefficient that was put back, rewards are those of a run without interruption."""
    shaping = KLShaping(0.5, "sampled", controller=AdaptiveKL(target=1.0, horizon=10), pay=pay)
    common = {"kl": shaping, "reference": FrozenReference(make_model("gpt2"), vocab_size=V), "max_new_tokens": 2}

    def make() -> Any:
        if num_envs == 1:
            return TextGenEnv(["ab", "c"], zero, LetterTokenizer(V), **common)
        return TextGenVectorEnv(["ab", "c"], zero, LetterTokenizer(V), num_envs=num_envs, **common)

    def play(env: Any) -> list[float]:
        paid, shape = [], () if num_envs == 1 else (num_envs,)
        for seed in range(5):
            env.reset(seed=seed)
            for token in (1, 0):
                reward = env.step({"token": np.full(shape, token), "logprob": np.full(shape, -0.1 * (seed + 1))})[1]
                paid.append(np.asarray(reward).tolist())
        return paid

    whole, resumed = make(), make()
    fresh = play(whole)
    assert whole.kl_coef != 0.5
    resumed.kl_coef = whole.kl_coef
    expected = play(whole)
    assert play(resumed) == expected != fresh
    assert resumed.kl_coef == whole.kl_coef


@pytest.mark.parametrize("pay", ["step", "episode"])
def test_k1_terms_add_up_to_the_log_ratio_of_whole_completions(
    pay: Any, model: Any, make_model: Any, exact_logprobs: Any
) -> None:
    policy, coef = make_model("gpt2", seed=1), 0.25
    env = TextGenEnv(
        ["abcde", "f"],
        zero,
        LetterTokenizer(V),
        max_new_tokens=6,
        max_prompt_tokens=9,
        kl=KLShaping(coef, "sampled", pay=pay),
        reference=FrozenReference(model, vocab_size=V),
    )
    of_policy, of_reference = exact_logprobs(policy), exact_logprobs(model)
    rng = np.random.default_rng(0)
    for episode in range(6):
        observation, _ = env.reset(options={"prompt_index": episode % 2})
        prompt = [1, 2, 3, 4, 5] if episode % 2 == 0 else [6]
        completion, total, ended = [], 0.0, False
        while not ended:
            ids = observation["input_ids"][observation["attention_mask"] == 1].tolist()
            assert ids == prompt + completion
            token = int(rng.integers(V))
            logprob = of_policy(ids)[-1, token]
            completion.append(token)
            observation, reward, ended, _, info = env.step({"token": token, "logprob": logprob})
            total += reward
        where = np.arange(len(prompt) - 1, len(prompt) + len(completion) - 1)
        ratio = sum(
            sign * of(prompt + completion)[where, completion].sum() for sign, of in ((1, of_policy), (-1, of_reference))
        )
        assert total == pytest.approx(-coef * ratio, abs=1e-5)
        assert info["kl"] == pytest.approx(ratio, abs=1e-5)


def test_exact_and_reference_terms_are_those_of_a_direct_computation(model: Any, exact_logprobs: Any) -> None:
    reference, slow, coef = FrozenReference(model, vocab_size=V), exact_logprobs(model), 0.3
    exact, plain = (
        TextGenEnv(["abc"], zero, LetterTokenizer(V), kl=KLShaping(coef, mode), reference=reference)
        for mode in ("exact", "reference")
    )
    exact.reset()
    plain.reset()
    rng, ids, so_far = np.random.default_rng(0), [1, 2, 3], 0.0
    for token in (4, 5, 6, 0):
        p, q = rng.dirichlet(np.ones(V)), np.exp(slow(ids)[-1])
        so_far += math.fsum(p[a] * math.log(p[a] / q[a]) for a in range(V))
        _, _, _, _, info = exact.step({"token": token, "logprobs": np.log(p)})
        assert info["kl"] == pytest.approx(so_far, abs=1e-5)
        total = info["reward_terms"]["kl"]
        assert total == pytest.approx(-coef * math.fsum(p * np.log(p / q)), abs=1e-5)
        assert plain.step(token)[1] == pytest.approx(coef * math.log(q[token]), abs=1e-5)
        ids.append(token)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KLShaping(-0.1), "coef of KLShaping must be at least 0, got -0.1"),
        (lambda: KLShaping(float("nan")), "coef"),
        (lambda: KLShaping(float("inf")), "coef"),
        (lambda: KLShaping(mode="both"), "mode .* 'both'"),
        (lambda: KLShaping(estimator="k4"), "estimator .* 'k4'"),
        (lambda: KLShaping(pay="never"), "pay .* 'never'"),
        (lambda: KLShaping(controller=AdaptiveKL(1.0)), "controller"),
        (lambda: KLShaping(mode="exact", pay="episode"), "pay='step'"),
        (lambda: AdaptiveKL(0.0), "target .* 0"),
        (lambda: AdaptiveKL(float("nan")), "target"),
        (lambda: AdaptiveKL(1.0, horizon=0), "horizon .* 0"),
    ],
)
def test_impossible_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
