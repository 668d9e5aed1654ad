"""Stable-Baselines3 trains on the environment unmodified."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.oracle import evaluate, solve
from textrl_env.reference import FrozenReference
from textrl_env.sb3 import as_sb3_vec_env
from textrl_env.worlds import EnumerableWorld, LetterTokenizer

V, C, N = 8, 4, 3


def count_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [len(prompt) + text.count("a") / 4 for prompt, text in zip(prompts, completions, strict=True)]


def vector_env(**options: Any) -> TextGenVectorEnv:
    return TextGenVectorEnv(
        ["abc", "de", "f"],
        count_a,
        LetterTokenizer(V),
        num_envs=N,
        **{"autoreset_mode": "SameStep", "max_new_tokens": C, **options},
    )


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("shaped", [False, True])
def test_on_policy_algorithms_learn(algorithm: Any, shaped: bool, make_model: Any) -> None:
    options: dict[str, Any] = {}
    if shaped:
        options = {"kl": KLShaping(0.1), "reference": FrozenReference(make_model("gpt2"), vocab_size=V)}
    model = algorithm("MultiInputPolicy", as_sb3_vec_env(vector_env(**options)), n_steps=32, seed=0, device="cpu")
    model.learn(200)
    assert model.num_timesteps >= 200
    assert all(np.isfinite(parameter.detach().numpy()).all() for parameter in model.policy.parameters())


def test_dqn_learns_on_a_single_environment() -> None:
    env = TextGenEnv(["abc", "de"], count_a, LetterTokenizer(V), max_new_tokens=C)
    model = DQN("MultiInputPolicy", env, learning_starts=50, buffer_size=500, seed=0, device="cpu")
    model.learn(200)
    assert model.num_timesteps == 200


def test_ppo_finds_the_letter_that_pays() -> None:
    env = VecMonitor(as_sb3_vec_env(vector_env()))
    model = PPO("MultiInputPolicy", env, n_steps=64, learning_rate=3e-3, gamma=1.0, seed=0, device="cpu")
    model.learn(200)
    before = np.mean([episode["r"] for episode in model.ep_info_buffer])
    model.learn(4000)
    assert np.mean([episode["r"] for episode in model.ep_info_buffer]) > before + 0.3


@pytest.mark.parametrize(
    ("algorithm", "options", "steps"),
    [
        (PPO, {"n_steps": 64}, 1000),
        (A2C, {"n_steps": 32}, 2000),
        (DQN, {"learning_starts": 100, "target_update_interval": 100, "exploration_fraction": 0.5}, 1000),
    ],
)
def test_each_algorithm_beats_random_play(algorithm: Any, options: dict[str, Any], steps: int) -> None:
    """On a world of 13 completions, from `gymnasium.make`, against the exact mean of random play and the best score."""
    world = EnumerableWorld(vocab_size=4, horizon=2, n_prompts=1)
    tree = world.tree(world.prompts[0])
    uniform = [np.full(scores.shape, -np.log(4)) for scores in tree.scores]
    at_random = evaluate(tree, uniform, uniform, coef=1.0).score
    best = max(scores[ends].max() for scores, ends in zip(tree.scores, tree.ends, strict=True))
    env = gymnasium.make(
        "TextRL/TextGen-v0", prompts=world.prompts, reward=world.reward, tokenizer=world.tokenizer, max_new_tokens=2
    )
    model = algorithm("MultiInputPolicy", env, learning_rate=3e-3, gamma=1.0, seed=0, device="cpu", **options)
    model.learn(steps)
    learnt, _ = evaluate_policy(model, Monitor(env), n_eval_episodes=5)
    assert at_random + 0.7 * (best - at_random) < learnt < best + 1e-5


class FixedReference:
    """A reference that finds the same tokens likely everywhere."""

    def __init__(self, probabilities: list[float]) -> None:
        self.logprobs = np.log(probabilities)

    def decoder(self) -> "FixedReference":
        return self

    def next_logprobs(self, input_ids: np.ndarray, attention_mask: np.ndarray, live: np.ndarray) -> np.ndarray:
        return np.tile(self.logprobs, (len(input_ids), 1)).astype(np.float32)

    def completion_logprobs(self, input_ids: np.ndarray, attention_mask: np.ndarray, n_tokens: int) -> np.ndarray:
        return self.logprobs[input_ids[:, -n_tokens:]].astype(np.float32)


@pytest.mark.slow
def test_mode_reference_needs_the_entropy_weight_to_be_the_kl_objective() -> None:
    """The share of the gap between reference and optimum that PPO closes, exactly; without the weight it loses."""
    coef, reference = 0.5, FixedReference([0.1, 0.6, 0.2, 0.1])
    world = EnumerableWorld(vocab_size=4, horizon=2, n_prompts=1)
    tree, prompt = world.tree(world.prompts[0]), world.tokenizer.encode(world.prompts[0])
    log_reference = [np.tile(reference.logprobs, (len(prefixes), 1)) for prefixes in tree.prefixes]
    start = evaluate(tree, log_reference, log_reference, coef=coef).objective
    best = solve(tree, log_reference, coef=coef).objective

    def share_closed(ent_coef: float) -> float:
        env = TextGenVectorEnv(
            world.prompts,
            world.reward,
            world.tokenizer,
            num_envs=8,
            autoreset_mode="SameStep",
            max_new_tokens=2,
            kl=KLShaping(coef),
            reference=reference,
        )
        model = PPO(
            "MultiInputPolicy",
            as_sb3_vec_env(env),
            n_steps=32,
            gamma=1.0,
            gae_lambda=1.0,
            learning_rate=3e-3,
            normalize_advantage=False,
            ent_coef=ent_coef,
            seed=0,
            device="cpu",
        )
        model.learn(8000)
        log_policy = []
        for prefixes in tree.prefixes:
            ids = np.concatenate([np.tile(prompt, (len(prefixes), 1)), prefixes], axis=1)
            padding = ((0, 0), (4 - ids.shape[1], 0))
            observation = {"input_ids": np.pad(ids, padding), "attention_mask": np.pad(np.ones_like(ids), padding)}
            policy = model.policy.get_distribution(model.policy.obs_to_tensor(observation)[0])
            log_policy.append(policy.distribution.logits.detach().double().numpy())
        mine = evaluate(tree, log_policy, log_reference, coef=coef).objective
        assert mine <= best
        return float((mine - start) / (best - start))

    assert share_closed(ent_coef=coef) > 0.4
    assert share_closed(ent_coef=0.0) < 0


@pytest.mark.parametrize("length_limit", ["scored", "cut"])
def test_an_end_comes_with_its_last_observation_and_the_reason(length_limit: Any) -> None:
    env, twin = as_sb3_vec_env(vector_env(length_limit=length_limit)), vector_env(length_limit=length_limit)
    env.seed(5)
    observation = env.reset()
    expected, _ = twin.reset(seed=5)
    np.testing.assert_array_equal(observation["input_ids"], expected["input_ids"])
    tokens = np.array([[1, 2, 3], [1, 0, 3], [4, 1, 5], [1, 1, 1]])
    for step, row in enumerate(tokens):
        observation, rewards, done, infos = env.step(row)
        ended = (step == 1) * (np.arange(N) == 1) + (step == 3) * (np.arange(N) != 1)
        assert done.tolist() == ended.astype(bool).tolist()
        for slot in range(N):
            assert ("terminal_observation" in infos[slot]) == bool(done[slot])
            if done[slot]:
                last = infos[slot]["terminal_observation"]
                assert last["input_ids"][-1] == row[slot]
                assert not np.array_equal(last["input_ids"], observation["input_ids"][slot])
                cut = step == 3 and length_limit == "cut"
                assert infos[slot]["TimeLimit.truncated"] is cut
                assert infos[slot]["finish_reason"] == ("eos" if slot == 1 else "length")
                assert (rewards[slot] == 0) == cut
                assert rewards[slot] == pytest.approx(sum(infos[slot]["reward_terms"].values()))
            else:
                assert infos[slot]["finish_reason"] == ""


def test_monitored_returns_are_the_episodes() -> None:
    env = VecMonitor(as_sb3_vec_env(vector_env()))
    env.seed(0)
    env.reset()
    rng, totals, lengths, seen = np.random.default_rng(0), np.zeros(N), np.zeros(N, dtype=int), 0
    for _ in range(60):
        _, rewards, done, infos = env.step(rng.integers(V, size=N))
        totals, lengths = totals + rewards, lengths + 1
        for slot in np.flatnonzero(done):
            assert infos[slot]["episode"]["r"] == pytest.approx(totals[slot], abs=1e-4)
            assert infos[slot]["episode"]["l"] == lengths[slot] == infos[slot]["n_completion_tokens"]
            totals[slot] = lengths[slot] = 0
            seen += 1
    assert seen > 30


def test_what_sb3_cannot_do_is_named(make_model: Any) -> None:
    for mode in ("NextStep", "Disabled"):
        with pytest.raises(InputError, match="needs autoreset_mode='SameStep'"):
            as_sb3_vec_env(vector_env(autoreset_mode=mode))
    single = vector_env(autoreset_mode="SameStep").unwrapped.task
    with pytest.raises(InputError, match="expected a TextGenVectorEnv, got TextGenTask"):
        as_sb3_vec_env(single)  # type: ignore[arg-type]
    reference = FrozenReference(make_model("gpt2"), vocab_size=V)
    for mode in ("sampled", "exact"):
        with pytest.raises(InputError, match=f"KL mode '{mode}'; use 'reference'"):
            as_sb3_vec_env(vector_env(kl=KLShaping(0.1, mode), reference=reference))


def test_attributes_and_methods_are_found_per_slot() -> None:
    env = as_sb3_vec_env(vector_env(min_new_tokens=1))
    env.reset()
    assert env.get_attr("num_envs") == [N] * N and env.get_attr("num_envs", [0]) == [N]
    assert env.env_is_wrapped(VecMonitor) == [False] * N
    masks = env.env_method("action_masks")
    assert len(masks) == N and not masks[0][0] and masks[0][1:].all()
    np.testing.assert_array_equal(np.stack(masks), env.action_masks())
