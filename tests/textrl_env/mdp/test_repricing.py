"""Recorded episodes, paid again, are paid what a fresh run over the same tokens pays."""

from typing import Any

import numpy as np
import pytest

from textrl_env import InputError, KLShaping, LengthPenalty, TextGenEnv, Weighted
from textrl_env.mdp import Episode, RecordEpisodes, reprice
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

PROMPTS = [{"prompt": "abc", "bonus": 1.0}, {"prompt": "d", "bonus": -2.0}, {"prompt": "eed", "bonus": 0.5}]


def vowels(completions: list[str], bonus: list[float], **columns: Any) -> list[float]:
    return [text.count("b") + extra for text, extra in zip(completions, bonus, strict=True)]


def env(reward: Any = vowels, **options: Any) -> TextGenEnv:
    return TextGenEnv(PROMPTS, reward, LetterTokenizer(8), **{"max_new_tokens": 6, "stop_strings": ["cd"], **options})


def play(env: Any, rng: np.random.Generator, *, with_logprobs: bool = True) -> list[dict[str, list[float]]]:
    """Twenty random episodes; the ledgers that `step` paid."""
    ledgers = []
    for seed in range(20):
        env.reset(seed=seed)
        terms, over = [], False
        while not over:
            token, logprob = int(rng.integers(8)), -float(rng.exponential())
            _, _, terminated, truncated, info = env.step(
                {"token": token, "logprob": logprob} if with_logprobs else token
            )
            terms.append(info["reward_terms"])
            over = terminated or truncated
        ledgers.append({name: [step[name] for step in terms] for name in terms[0]})
    return ledgers


def replay(env: TextGenEnv, episodes: list[Episode]) -> list[dict[str, list[float]]]:
    ledgers = []
    for episode in episodes:
        env.reset(options={"prompt_index": episode.prompt_index})
        logprobs = episode.logprobs or [None] * len(episode.completion_ids)
        sampled = env.task.kl is not None and env.task.kl.mode == "sampled"
        steps = [
            env.step({"token": token, "logprob": logprob} if sampled else token)
            for token, logprob in zip(episode.completion_ids, logprobs, strict=True)
        ]
        assert steps[-1][2] or steps[-1][3]
        ledgers.append({name: [step[4]["reward_terms"][name] for step in steps] for name in env.task.term_names})
    return ledgers


def agrees(mine: Any, theirs: Any) -> None:
    assert len(mine) == len(theirs) == 20
    for one, other in zip(mine, theirs, strict=True):
        assert set(one) == set(other)
        for name, values in one.items():
            np.testing.assert_allclose(values, other[name], atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_any_other_price_equals_a_fresh_run_on_the_same_tokens(kind: str, make_model: Any) -> None:
    reference = FrozenReference(make_model(kind), vocab_size=8)
    recorder = RecordEpisodes(env(kl=KLShaping(0.3, "sampled"), reference=reference))
    paid = play(recorder, np.random.default_rng(0))
    episodes = recorder.episodes
    agrees(reprice(recorder.env.task, episodes, batch_size=7), paid)  # type: ignore[attr-defined]
    other = {"sweet": Weighted(vowels, 2.0), "short": Weighted(LengthPenalty(2), 0.1)}
    changed = [
        env(kl=KLShaping(0.9, "sampled", estimator="k3"), reference=reference),
        env(kl=KLShaping(0.1, "reference"), reference=FrozenReference(make_model(kind, seed=5), vocab_size=8)),
        env(other, kl=KLShaping(0.2, "sampled", estimator="k2"), reference=reference),
        env(other),
        env(length_limit="cut"),
    ]
    for fresh in changed:
        agrees(reprice(fresh.task, episodes, batch_size=7), replay(fresh, episodes))
    # The prices do differ, or the comparisons above say nothing.
    kls = [sum(ledger["kl"].sum() for ledger in reprice(e.task, episodes)) for e in (recorder.env, changed[0])]  # type: ignore[attr-defined]
    assert abs(kls[0] - kls[1]) > 0.1


def test_every_way_to_end_was_recorded() -> None:
    recorder = RecordEpisodes(env())
    play(recorder, np.random.default_rng(1), with_logprobs=False)
    lengths = {len(episode.completion_ids) for episode in recorder.episodes}
    ends = {episode.completion_ids[-1] for episode in recorder.episodes}
    assert 6 in lengths and 1 in lengths and 0 in ends
    assert all(episode.logprobs is None for episode in recorder.episodes)


def test_what_cannot_be_priced_is_named(make_model: Any) -> None:
    reference = FrozenReference(make_model("gpt2"), vocab_size=8)
    whole = Episode(0, (1, 2, 0))
    with pytest.raises(InputError, match="episode 1: its 2 tokens end with neither"):
        reprice(env().task, [whole, Episode(0, (1, 2))])
    with pytest.raises(InputError, match="episode 0: prompt_index 3"):
        reprice(env().task, [Episode(3, (1, 0))])
    several = [Episode(0, (1, 2, 0), (-1.0, -1.0, -1.0))] * 65
    with pytest.raises(InputError, match="episode 65: no log-probabilities"):
        reprice(env(kl=KLShaping(0.1, "sampled"), reference=reference).task, [*several, whole])
    with pytest.raises(InputError, match="'exact' cannot be paid again"):
        reprice(env(kl=KLShaping(0.1, "exact"), reference=reference).task, [whole])
