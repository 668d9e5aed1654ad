"""Supervised fine-tuning: only completions count, padding never does, and it learns."""

from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import InputError
from textrl_env.agents import SFTConfig, train_sft
from textrl_env.agents.offline.sft import encode_demonstrations, heldout_loss, sft_loss
from textrl_env.worlds import LetterTokenizer

ROWS = [
    {"prompt": "abc", "completion": "de"},
    {"prompt": "f", "completion": "gabcdef"},
    {"prompt": "gfedc", "completion": ""},
    {"prompt": "ba", "completion": "a"},
]


def copy_task(n: int, *, seed: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("abcdefg"), size=2)) for _ in range(n)]
    return [{"prompt": text, "completion": text} for text in texts]


def examples(rows: list[dict[str, str]]) -> Any:
    return [row.sequences[0] for row in encode_demonstrations(LetterTokenizer(8), rows, max_length=64)]


def test_logits_and_targets_of_the_prompt_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, ids = torch.randn(3, 9, 8, generator=generator), torch.randint(8, (3, 9), generator=generator)
    at, prompts, ends = torch.arange(9), torch.tensor([[4], [1], [6]]), torch.tensor([[9], [5], [8]])
    mask = (at >= prompts) & (at < ends)
    # The prompt's last position predicts the first token that counts, the last one's own logits nothing that counts.
    unused = (at < prompts - 1) | (at >= ends - 1)
    junk_logits, junk_ids = logits.masked_fill(unused[..., None], 1e6), ids.masked_fill(~mask, 7)
    loss = sft_loss(logits, ids, mask)
    torch.testing.assert_close(sft_loss(junk_logits, junk_ids, mask), loss)
    for row, place in ((0, 3), (1, 0), (2, 5), (0, 7)):
        moved = logits.clone()
        moved[row, place, 0] += 3
        assert sft_loss(moved, ids, mask) != loss


def test_loss_is_the_mean_over_completion_tokens_and_end_tokens(model: Any, exact_logprobs: Any) -> None:
    tokenizer, of = LetterTokenizer(8), exact_logprobs(model)
    losses = []
    for row in ROWS:
        ids = [*tokenizer.encode(row["prompt"] + row["completion"]), 0]
        logprobs = of(ids)
        losses += [-logprobs[place - 1, ids[place]] for place in range(len(row["prompt"]), len(ids))]
    assert len(losses) == sum(len(row["completion"]) + 1 for row in ROWS)
    assert heldout_loss(model, examples(ROWS), 0) == pytest.approx(np.mean(losses), abs=1e-5)


def test_loss_depends_neither_on_padding_nor_on_what_fills_it(model: Any) -> None:
    loss = heldout_loss(model, examples(ROWS), 0)
    for fill, batch_size in ((5, 64), (0, 1), (3, 3)):
        assert heldout_loss(model, examples(ROWS), fill, batch_size=batch_size) == pytest.approx(loss, abs=1e-5)


def test_training_lowers_the_heldout_loss_of_a_copy_task(make_model: Any) -> None:
    model, heldout = make_model("llama"), copy_task(40, seed=1)
    before = heldout_loss(model, examples(heldout), 0)
    config = SFTConfig(n_steps=120, batch_size=32, learning_rate=5e-3)
    after = train_sft(model, LetterTokenizer(8), copy_task(300, seed=0), config, heldout=heldout)
    # Letters are uniform: without reading the prompt, two of three tokens cost log 7 each.
    assert after < 2 / 3 * np.log(7) - 0.3 < before
    assert not model.training
    assert after == pytest.approx(heldout_loss(model, examples(heldout), 0), abs=1e-6)


@pytest.mark.parametrize("n_steps", [1, 2, 10, 20])
def test_any_number_of_steps_trains(make_model: Any, n_steps: int) -> None:
    config = SFTConfig(n_steps=n_steps, batch_size=2)
    assert np.isfinite(train_sft(make_model("gpt2"), LetterTokenizer(8), ROWS, config))


def test_a_loss_that_is_not_a_number_names_step_and_rows_and_takes_no_step(make_model: Any) -> None:
    model = make_model("llama")
    with torch.no_grad():
        model.lm_head.weight[4] = float("nan")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(InputError, match=r"loss is nan, .* at step 1, rows \[\d, \d\]; .* before this step"):
        train_sft(model, LetterTokenizer(8), ROWS, SFTConfig(n_steps=3, batch_size=2))
    for one, now in zip(before, model.parameters(), strict=True):
        assert torch.equal(one.nan_to_num(7.0), now.nan_to_num(7.0))


def test_a_row_that_is_too_long_is_named(make_model: Any) -> None:
    rows = [*ROWS, {"prompt": "a" * 40, "completion": "b" * 24}]
    with pytest.raises(InputError, match=r"demonstration 4: 65 tokens.* 64"):
        train_sft(make_model("gpt2"), LetterTokenizer(8), rows, SFTConfig(n_steps=1))
    assert len(examples([{"prompt": "a" * 40, "completion": "b" * 23}])[0].ids) == 64


def test_equal_seeds_give_equal_weights_and_no_global_generator_is_touched(make_model: Any) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = make_model("gpt2")
        train_sft(model, LetterTokenizer(8), copy_task(50, seed=0), SFTConfig(n_steps=3, batch_size=4), seed=seed)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    first = weights(0)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # type: ignore[index]
    torch.rand(3)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


@pytest.mark.parametrize(
    "option",
    [{"n_steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"warmup_fraction": 1.0}, {"weight_decay": -1.0}],
)
def test_an_impossible_option_is_named(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        SFTConfig(**option)


def test_bad_and_over_long_rows_are_counted_or_skipped_together(make_model: Any) -> None:
    rows = [*ROWS, {"prompt": "a" * 40, "completion": "b" * 24}, {"prompt": "a", "completion": None}, {"text": "ab"}]
    config = SFTConfig(n_steps=1, batch_size=2)
    with pytest.raises(
        InputError, match=r"demonstrations: 3 bad rows of 7; (?s:.*)demonstration 5: column 'completion'"
    ):
        train_sft(make_model("gpt2"), LetterTokenizer(8), rows, config)
    with pytest.warns(UserWarning, match="demonstrations: skipped 3 bad rows of 7; first: demonstration 4: 65 tokens"):
        skipped = train_sft(make_model("gpt2"), LetterTokenizer(8), rows, config, on_bad_row="skip")
    assert skipped == train_sft(make_model("gpt2"), LetterTokenizer(8), ROWS, config)
