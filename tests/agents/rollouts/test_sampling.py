"""Sampling whole completions, against transformers' own generation and float64."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from textrl_env import InputError
from textrl_env.agents import ActorCriticLM, sample_completions
from textrl_env.agents.rollouts import completion_logprobs
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

PROMPTS = ["abcde", "f", "gab", "cd", "f"]
V, C = 8, 7


def test_n_completions_per_prompt_in_the_order_of_the_prompts(model: Any) -> None:
    tokenizer = LetterTokenizer(V)
    samples = sample_completions(model, tokenizer, PROMPTS, max_new_tokens=C, n=3, batch_size=4)
    assert [len(completions) for completions in samples] == [3] * len(PROMPTS)
    for prompt, completions in zip(PROMPTS, samples, strict=True):
        for completion in completions:
            assert completion.prompt_ids == tokenizer.encode(prompt)
            assert completion.text == tokenizer.decode(completion.ids, skip_special_tokens=True)
            assert 1 <= len(completion.ids) <= C and 0 not in completion.ids[:-1]
            assert completion.ids[-1] == 0 or len(completion.ids) == C
    assert len({completion.text for completions in samples for completion in completions}) > 5


def test_seeds_decide_and_no_global_generator_is_touched(model: Any) -> None:
    state = torch.get_rng_state()
    first, again, other = (
        sample_completions(model, LetterTokenizer(V), PROMPTS, max_new_tokens=C, n=4, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert torch.equal(state, torch.get_rng_state())


def test_greedy_is_what_transformers_generates(model: Any) -> None:
    tokenizer = LetterTokenizer(V)
    samples = sample_completions(model, tokenizer, PROMPTS, max_new_tokens=C, temperature=0)
    for prompt, (completion,) in zip(PROMPTS, samples, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt)])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=C, eos_token_id=0, pad_token_id=0
        )
        assert completion.ids == out[0, ids.shape[1] :].tolist()


def test_logprobs_are_those_of_float64_alone(model: Any, exact_logprobs: Any) -> None:
    of = exact_logprobs(model)
    samples = sample_completions(model, LetterTokenizer(V), PROMPTS, max_new_tokens=C, n=2)
    flat = [completion for completions in samples for completion in completions]
    assert len({len(completion.ids) for completion in flat}) > 1
    expected = []
    for completion in flat:
        ids, start = [*completion.prompt_ids, *completion.ids], len(completion.prompt_ids)
        logprobs = of(ids)
        expected.append(sum(logprobs[place - 1, ids[place]] for place in range(start, len(ids))))
    for batch_size in (64, 1, 3):
        found = completion_logprobs(model, flat, vocab_size=V, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_frequencies_of_first_tokens_match_the_distribution(
    model: Any, exact_logprobs: Any, temperature: float
) -> None:
    n = 4000
    prompts = ["abc", "f"]
    samples = sample_completions(
        model, LetterTokenizer(V), prompts, max_new_tokens=1, n=n, temperature=temperature, batch_size=2000
    )
    for prompt, completions in zip(prompts, samples, strict=True):
        p = np.exp(exact_logprobs(model, temperature=temperature)(LetterTokenizer(V).encode(prompt))[-1])
        found = np.bincount([completion.ids[0] for completion in completions], minlength=V) / n
        assert (np.abs(found - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 1e-3).all()


def test_tokens_beyond_the_tokenizer_are_never_sampled(make_model: Any) -> None:
    model = make_model("gpt2", vocab_size=32)
    samples = sample_completions(model, LetterTokenizer(V), ["abc"], max_new_tokens=C, n=200)
    assert max(token for completion in samples[0] for token in completion.ids) < V


def test_impossible_requests_are_named(model: Any) -> None:
    with pytest.raises(InputError, match="temperature must be at least 0, got -1"):
        sample_completions(model, LetterTokenizer(V), ["a"], max_new_tokens=C, temperature=-1)
    with pytest.raises(InputError, match="prompt 1 has no tokens"):
        sample_completions(model, LetterTokenizer(V), ["a", ""], max_new_tokens=C)


@pytest.mark.parametrize("container", [list, tuple, iter, np.array, pd.Series])
def test_prompts_may_be_in_any_container(model: Any, container: Any) -> None:
    expected = sample_completions(model, LetterTokenizer(V), ["abc", "d"], n=2, max_new_tokens=3)
    assert sample_completions(model, LetterTokenizer(V), container(["abc", "d"]), n=2, max_new_tokens=3) == expected


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("abc", "prompts must be rows, got a str, 'abc'; pass a list"),
        (["abc", 3], "prompt 1 must be text, got int"),
        (["abc", None], "prompt 1 must be text, got null"),
        ([{"prompt": "abc"}], "prompt 0 must be text, got"),
        (["abc", [{"role": "user"}]], "prompt 1 must hold messages with 'content'"),
    ],
)
def test_what_is_no_prompt_is_named(model: Any, prompts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample_completions(model, LetterTokenizer(V), prompts, max_new_tokens=2)


@pytest.mark.parametrize("ends", [0, "0", [8], [-1], [0.5], [None], [True]])
def test_end_tokens_are_ids_of_the_tokenizer(model: Any, ends: Any) -> None:
    with pytest.raises(InputError, match=r"eos_token_ids (holds|must be a list)"):
        sample_completions(model, LetterTokenizer(V), ["a"], max_new_tokens=2, eos_token_ids=ends)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0, 1])
def test_weights_that_are_no_numbers_sample_nothing(make_model: Any, value: float, temperature: float) -> None:
    model = make_model("gpt2")
    with torch.no_grad():
        model.lm_head.weight[3] = value
    with pytest.raises(InputError, match="the model's logits are NaN or Inf"):
        sample_completions(model, LetterTokenizer(V), ["a"], max_new_tokens=2, temperature=temperature)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_policy_whose_weights_are_no_numbers_chooses_nothing(make_model: Any, deterministic: bool) -> None:
    model = make_model("gpt2")
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    policy, observation = ActorCriticLM(model, vocab_size=V), {"input_ids": np.ones((2, 3), dtype=np.int64)}
    observation["attention_mask"] = np.ones((2, 3), dtype=np.int8)
    with pytest.raises(InputError, match="the policy's logits are NaN or Inf"):
        policy.act(observation, deterministic=deterministic)


@pytest.mark.parametrize("value", ["gpt2", None, 3])
def test_what_is_no_model_is_named(value: Any) -> None:
    for attempt in (
        lambda: sample_completions(value, LetterTokenizer(V), ["a"], max_new_tokens=2),
        lambda: ActorCriticLM(value, vocab_size=V),
        lambda: FrozenReference(value, vocab_size=V),
    ):
        with pytest.raises(InputError, match="must be a model of transformers, got"):
            attempt()


@pytest.mark.parametrize("value", ["gpt2", None, 2.5])
def test_what_is_no_tokenizer_is_named(model: Any, value: Any) -> None:
    with pytest.raises(InputError, match="expected a tokenizer of transformers, got"):
        sample_completions(model, value, ["a"], max_new_tokens=2)


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"temperature": float("nan")}, {"vocab_size": 0}, {"vocab_size": 2.5}]
)
def test_a_reference_has_a_vocabulary_and_a_temperature(model: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        FrozenReference(model, **{"vocab_size": V, **options})
