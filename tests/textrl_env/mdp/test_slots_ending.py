"""Slots that end together, apart or never, with a real model as reference: the rewards of N single environments."""

import itertools
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from textrl_env import KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import small_llama
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

N, V, C, EOS = 3, 6, 4, 0
WAYS = ["none", "reference by step", "reference by episode", "sampled by step", "sampled by episode", "exact by step"]
PATTERNS = {
    "all at once": [[1, 2, 3], [EOS] * 3, [2, 2, 2], [EOS] * 3, [4, 4, 4], [EOS] * 3],
    "some": [[1, 2, 3], [EOS, 2, 3], [1, EOS, 3], [2, 2, EOS], [EOS, 1, 1], [3, EOS, 2], [1, 1, 1]],
    "none but by length": [[token, 5 - token, 1] for token in (1, 2, 3, 4, 1, 2, 3, 4, 1, 2)],
}
POLICY = np.log(np.random.default_rng(0).dirichlet(np.ones(V), size=20)).astype(np.float32)


def count_a(prompts: list[str], completions: list[str]) -> list[float]:
    return [len(prompt) + text.count("a") for prompt, text in zip(prompts, completions, strict=True)]


@pytest.fixture(scope="module")
def reference() -> FrozenReference:
    tokenizer: Any = LetterTokenizer(V)
    return FrozenReference(small_llama(tokenizer, hidden_size=16, layers=1, context=16, seed=3), vocab_size=V)


def arguments(way: str, length_limit: str, reference: FrozenReference, **options: Any) -> dict[str, Any]:
    mode, _, pay = way.partition(" by ")
    if mode != "none":
        options |= {"kl": KLShaping(0.3, mode, pay=pay), "reference": reference}  # type: ignore[arg-type]
    common = {"prompts": ["abc", "de", "e"], "reward": count_a, "tokenizer": LetterTokenizer(V)}
    return common | {"max_new_tokens": C, "length_limit": length_limit, **options}


def action(way: str, tokens: Any, step: int) -> Any:
    rows = np.broadcast_to(POLICY[step], (*np.shape(tokens), V))
    match way.split()[0]:
        case "sampled":
            return {"token": tokens, "logprob": np.take_along_axis(rows, np.expand_dims(tokens, -1), -1)[..., 0]}
        case "exact":
            return {"token": tokens, "logprobs": rows}
    return tokens


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("way", WAYS)
def test_rewards_are_those_of_single_environments(way: str, pattern: str, reference: FrozenReference) -> None:
    for mode, length_limit in itertools.product(AutoresetMode, ("scored", "cut")):
        common = arguments(way, length_limit, reference)
        env = TextGenVectorEnv(**common, num_envs=N, autoreset_mode=mode)
        singles = [TextGenEnv(**common) for _ in range(N)]
        env.reset(seed=5)
        for slot, single in enumerate(singles):
            single.reset(seed=5 + slot)
        resets_now, n_ends = np.zeros(N, dtype=bool), 0
        # Twice as many steps as ends, so that in NEXT_STEP resets fall on all kinds of rows.
        for step, row in enumerate(PATTERNS[pattern] * 2):
            tokens = np.array(row)
            _, rewards, terminated, truncated, info = env.step(action(way, tokens, step))
            for slot, single in enumerate(singles):
                if resets_now[slot]:
                    single.reset()
                    assert (rewards[slot], terminated[slot], truncated[slot]) == (0, False, False)
                    continue
                _, reward, *over, single_info = single.step(action(way, tokens[slot], step))
                assert rewards[slot] == pytest.approx(reward, abs=1e-5)
                assert [terminated[slot], truncated[slot]] == over
                now = info["final_info"] if any(over) and mode is AutoresetMode.SAME_STEP else info
                for name, value in single_info["reward_terms"].items():
                    assert now["reward_terms"][name][slot] == pytest.approx(value, abs=1e-5)
                n_ends += any(over)
                if any(over) and mode is not AutoresetMode.NEXT_STEP:
                    single.reset()
            ended = terminated | truncated
            resets_now = ended if mode is AutoresetMode.NEXT_STEP else np.zeros(N, dtype=bool)
            if mode is AutoresetMode.DISABLED and ended.any():
                env.reset(options={"reset_mask": ended})
        assert n_ends > N


@pytest.mark.parametrize("way", WAYS)
def test_slots_that_all_idle_cost_nothing_and_change_nothing(way: str, reference: FrozenReference) -> None:
    """In DISABLED, where nobody resets; the next episodes are paid as if there had been no pause."""
    env, twin = (
        TextGenVectorEnv(**arguments(way, "scored", reference), num_envs=N, autoreset_mode="Disabled") for _ in range(2)
    )
    for either in (env, twin):
        either.reset(seed=1)
        either.step(action(way, np.array([EOS] * N), 0))
    for step in range(3):
        observation, rewards, terminated, _, info = env.step(action(way, np.array([7, -1, 3]) % V, step))
        assert not rewards.any() and terminated.all() and not any(info["score"])
        assert (info["finish_reason"] == "eos").all() and observation["input_ids"][0, -1] == EOS
    env.reset()
    twin.reset()
    for step, tokens in enumerate(([1, 2, 3], [4, EOS, 2], [EOS, 1, EOS])):
        now, then = (either.step(action(way, np.array(tokens), step)) for either in (env, twin))
        np.testing.assert_allclose(now[1], then[1], atol=1e-6)


def test_a_decoder_that_is_asked_of_no_row_says_nothing(reference: FrozenReference) -> None:
    decoder = reference.decoder()
    ids, mask = np.ones((2, 5), dtype=np.int64), np.ones((2, 5), dtype=np.int8)
    assert decoder.next_logprobs(ids, mask, np.zeros(2, dtype=np.bool_)).shape == (2, V)
    both = decoder.next_logprobs(ids, mask, np.ones(2, dtype=np.bool_))
    np.testing.assert_allclose(np.exp(both).sum(axis=1), 1, atol=1e-5)
