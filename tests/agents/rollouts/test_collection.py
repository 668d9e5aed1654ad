"""Gathering whole completions: none lost, none too many, and each what a single environment would have paid."""

from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import InputError, KLShaping, TextGenEnv
from textrl_env.agents import ActorCriticLM, Rollout, collect
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

V, C = 8, 6
PROMPTS = ["abcde", "f", "gab", "cd"]


def agent_of(model: Any, **options: Any) -> ActorCriticLM:
    agent = ActorCriticLM(model, vocab_size=V, **options)
    agent.generator.manual_seed(0)
    return agent


def collect_afresh(env: Any, agent: ActorCriticLM, n_episodes: int) -> Rollout:
    env.reset(seed=0)
    rollout = collect(env, agent, n_episodes)
    assert rollout is not None
    return rollout


@pytest.mark.parametrize("n_episodes", [1, 3, 4, 5, 17])
@pytest.mark.parametrize("kl", ["none", "reference", "sampled", "sampled by episode"])
@pytest.mark.parametrize("rules", ["free", "masked", "cut"])
def test_every_episode_equals_its_replay_in_a_single_environment(
    make_env: Any, make_model: Any, n_episodes: int, kl: str, rules: str
) -> None:
    calls: list[int] = []

    def reward(prompts: list[str], completions: list[str]) -> list[float]:
        calls.append(len(completions))
        return [len(prompt) + 0.5 * text.count("a") for prompt, text in zip(prompts, completions, strict=True)]

    options: dict[str, Any] = {
        "free": {},
        "masked": {"min_new_tokens": 3, "banned_tokens": [4]},
        "cut": {"length_limit": "cut"},
    }[rules]
    policy, reference, shaping = make_model("gpt2"), None, {}
    if kl != "none":
        mode, _, pay = kl.partition(" by ")
        reference = make_model("llama")
        shaping = {"kl": KLShaping(0.3, mode, pay=pay or "step")}  # type: ignore[arg-type]
    env = make_env(reference, reward=reward, **shaping, **options)
    rollout = collect_afresh(env, agent_of(policy), n_episodes)
    assert len(rollout) == n_episodes
    assert not env.live.any()
    assert sum(calls) == n_episodes - int(rollout.truncated.sum())
    single_shaping = {}
    if reference is not None:
        mode = kl.partition(" ")[0]
        single_shaping = {"kl": KLShaping(0.3, mode), "reference": FrozenReference(reference, vocab_size=V)}
    single = TextGenEnv(PROMPTS, reward, LetterTokenizer(V), max_new_tokens=C, **single_shaping, **options)
    for row in range(n_episodes):
        observation, _ = single.reset(options={"prompt_index": int(rollout.prompt_index[row])})
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        assert prompt == observation["input_ids"][observation["attention_mask"] == 1].tolist()
        tokens = rollout.completion_ids[row][rollout.completion_mask[row]].tolist()
        assert rollout.completion_mask[row].tolist() == sorted(rollout.completion_mask[row].tolist(), reverse=True)
        for t, token in enumerate(tokens):
            if rollout.action_masks is not None:
                assert rollout.action_masks[row, t].tolist() == single.action_masks().tolist()
            action = {"token": token, "logprob": float(rollout.logprobs[row, t])} if "sampled" in kl else token
            _, paid, terminated, truncated, info = single.step(action)
            assert float(rollout.rewards[row, t]) == pytest.approx(paid, abs=1e-5)
            assert (terminated or truncated) == (t == len(tokens) - 1)
        assert bool(rollout.truncated[row]) == truncated
        assert float(rollout.scores[row]) == pytest.approx(info["score"])
        if "sampled" in kl:
            assert float(rollout.kl[row]) == pytest.approx(info["kl"], abs=1e-5)
        assert not rollout.rewards[row, len(tokens) :].any()


def test_prompts_come_from_the_seed_in_the_order_of_the_slots(make_env: Any, model: Any) -> None:
    first, second = (collect_afresh(make_env(), agent_of(model), 20) for _ in range(2))
    for name in ("prompt_ids", "completion_ids", "logprobs", "rewards"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert set(first.prompt_index.tolist()) == {0, 1, 2, 3}


def test_short_completions_are_not_favoured(make_env: Any, make_model: Any) -> None:
    """The mean length of the episodes kept is that of the policy, not that of the first to finish."""
    agent = agent_of(make_model("gpt2", seed=3))
    whole = collect_afresh(make_env(num_envs=200), agent, 1200)
    few = torch.cat(
        [collect_afresh(make_env(num_envs=100), agent, 110).completion_mask.sum(1).float() for _ in range(10)]
    )
    lengths = whole.completion_mask.sum(1).float()
    spread = (lengths.var() / len(lengths) + few.var() / len(few)).sqrt()
    assert lengths.std() > 0.5
    # The two draws share prompts' seeds, and so differ by less than independent ones.
    assert abs(lengths.mean() - few.mean()) < 4 * spread


@pytest.mark.parametrize("num_envs", [4, 5, 30])
def test_a_group_shares_its_prompt_and_draws_it_once(make_env: Any, make_model: Any, num_envs: int) -> None:
    env = make_env(num_envs=num_envs, prompt_order="epoch")
    env.reset(seed=0)
    rollout = collect(env, agent_of(make_model("gpt2")), 24, group_size=3)
    assert rollout is not None
    groups = rollout.prompt_index.reshape(8, 3)
    assert (groups == groups[:, :1]).all()
    for row in range(24):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        assert prompt == LetterTokenizer(V).encode(PROMPTS[int(rollout.prompt_index[row])])
    assert len({tuple(row) for row in rollout.completion_ids.tolist()}) > 8
    assert len(set(groups[:, 0].tolist())) > 1


def test_indexing_takes_whole_episodes(make_env: Any, model: Any) -> None:
    rollout = collect_afresh(make_env(min_new_tokens=1), agent_of(model), 5)
    part = rollout[torch.tensor([3, 1])]
    assert len(part) == 2
    assert part.action_masks is not None
    assert rollout.action_masks is not None
    assert torch.equal(part.completion_ids[1], rollout.completion_ids[1])
    assert torch.equal(part.action_masks[0], rollout.action_masks[3])
    assert rollout.n_tokens == int(np.sum([rollout[torch.tensor([row])].n_tokens for row in range(5)]))


def test_stopping_midway_and_wrong_autoreset_mode(make_env: Any, model: Any) -> None:
    env, steps = make_env(), iter([True, False])
    env.reset(seed=0)
    assert collect(env, agent_of(model), 20, on_step=lambda: next(steps)) is None
    rollout = collect(env, agent_of(model), 3)
    assert rollout is not None
    assert len(rollout) == 3
    with pytest.raises(InputError, match="autoreset_mode='Disabled'"):
        collect(make_env(autoreset_mode="SameStep"), agent_of(model), 3)
