"""The key-value cache changes nothing: every row equals an unpadded, uncached float64 forward of that row alone."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import InputError
from textrl_env.lm.forward import CachedDecoder, trunk_cache as caches
from textrl_env.reference import FrozenReference

V, P, C = 8, 6, 9
TOLERANCE = {"rtol": 0, "atol": 1e-5}


class Rows:
    """N rows that grow by random tokens, end at random and start again with random prompts."""

    def __init__(self, n: int, seed: int, *, longest_prompt: int = P) -> None:
        self.rng, self.longest_prompt = np.random.default_rng(seed), longest_prompt
        self.ids: list[list[int]] = [[] for _ in range(n)]
        self.limit = [0] * n
        self.live = np.zeros(n, dtype=bool)
        for row in range(n):
            self.restart(row)

    def restart(self, row: int) -> None:
        self.ids[row] = self.rng.integers(V, size=self.rng.integers(1, self.longest_prompt + 1)).tolist()
        self.limit[row] = len(self.ids[row]) + int(self.rng.integers(1, C + 1))
        self.live[row] = True

    def grow(self, *, idle: float = 0.0, never: tuple[int, ...] = ()) -> None:
        """A token for every live row; rows at their limit start anew, at once or after idling."""
        for row in range(len(self.ids)):
            if self.live[row] and len(self.ids[row]) < self.limit[row]:
                self.ids[row].append(int(self.rng.integers(V)))
            elif row in never or self.rng.random() < idle:
                self.live[row] = False
            else:
                self.restart(row)

    def observation(self) -> tuple[np.ndarray, np.ndarray]:
        ids, mask = np.zeros((len(self.ids), P + C), dtype=np.int64), np.zeros((len(self.ids), P + C), dtype=np.int8)
        for row, tokens in enumerate(self.ids):
            ids[row, -len(tokens) :], mask[row, -len(tokens) :] = tokens, 1
        return ids, mask


def logprobs(decoder: CachedDecoder, rows: Rows) -> np.ndarray:
    ids, mask = rows.observation()
    return torch.log_softmax(decoder.next_logits(ids, mask, rows.live.copy()).double(), dim=-1).numpy()


@pytest.fixture(params=["gpt2", "llama", "qwen2"])
def model(request: pytest.FixtureRequest, make_model: Any) -> Any:
    """Two that run packed, and one through transformers' own forward and cache."""
    return make_model(request.param)


def computed(model: Any) -> list[int]:
    """How many tokens each forward reads, from now on."""
    counts: list[int] = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, args: counts.append(args[0].numel()))
    return counts


@pytest.mark.parametrize("idle", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("longest_prompt", [1, P])
def test_equals_an_uncached_forward_through_random_refills(
    model: Any, exact_logprobs: Any, idle: float, longest_prompt: int
) -> None:
    slow, decoder, rows = exact_logprobs(model), CachedDecoder(model), Rows(5, seed=1, longest_prompt=longest_prompt)
    for _ in range(70):
        if rows.live.any():
            fast = logprobs(decoder, rows)
            for row in np.flatnonzero(rows.live):
                np.testing.assert_allclose(fast[row], slow(rows.ids[row])[-1], **TOLERANCE)
            assert decoder.width <= P + C
        rows.grow(idle=idle)


@pytest.mark.parametrize("idle", [0.0, 0.4])
def test_rows_that_are_moved_and_read_block_by_block_stay_what_they_were(
    model: Any, exact_logprobs: Any, idle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "BLOCK", 2)
    monkeypatch.setattr(caches, "WORTH_A_CALL", 0)
    slow, decoder, rows = exact_logprobs(model), CachedDecoder(model), Rows(7, seed=8)
    for _ in range(60):
        fast = logprobs(decoder, rows)
        for row in np.flatnonzero(rows.live):
            np.testing.assert_allclose(fast[row], slow(rows.ids[row])[-1], **TOLERANCE)
        rows.grow(idle=idle)


def test_attention_reads_little_more_than_what_ragged_rows_hold(
    make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "BLOCK", 4)
    monkeypatch.setattr(caches, "WORTH_A_CALL", 0)
    decoder, rows = CachedDecoder(make_model("gpt2")), Rows(32, seed=9)
    read = held = full = 0
    for step in range(60):
        logprobs(decoder, rows)
        if step > 20:
            blocks = caches.row_blocks(decoder._mask, 1)
            assert [block.start for block, _ in blocks] == [0, *(block.stop for block, _ in blocks[:-1])]
            read += sum((block.stop - block.start) * width for block, width in blocks)
            held += int(decoder._mask.sum())
            full += decoder._mask.numel()
        rows.grow()
    assert held < 0.6 * full
    assert read < 1.25 * held


def test_few_bytes_are_not_worth_another_call() -> None:
    mask = (torch.arange(10)[None] >= torch.tensor([0] * 16 + [8] * 16)[:, None]).long()
    assert caches.row_blocks(mask, 1) == [(slice(0, 32), 10)]
    assert caches.row_blocks(mask, caches.WORTH_A_CALL) == [(slice(0, 16), 10), (slice(16, 32), 2)]


@pytest.mark.parametrize("never", [(0,), (1, 3)])
def test_the_cache_stays_as_narrow_as_the_longest_episode_beside_rows_that_never_return(
    model: Any, exact_logprobs: Any, never: tuple[int, ...]
) -> None:
    slow, decoder, rows = exact_logprobs(model), CachedDecoder(model), Rows(5, seed=2)
    for _ in range(60):
        fast = logprobs(decoder, rows)
        assert decoder.width <= P + C
        for row in np.flatnonzero(rows.live):
            np.testing.assert_allclose(fast[row], slow(rows.ids[row])[-1], **TOLERANCE)
        rows.grow(never=never)


def test_rows_do_not_see_each_other(model: Any) -> None:
    together, rows = CachedDecoder(model), Rows(4, seed=3)
    alone = [CachedDecoder(model) for _ in range(4)]
    for _ in range(25):
        fast = logprobs(together, rows)
        ids, mask = rows.observation()
        for row in range(4):
            single = alone[row].next_logits(ids[row : row + 1], mask[row : row + 1], np.ones(1, dtype=bool))
            np.testing.assert_allclose(torch.log_softmax(single.double(), -1)[0].numpy(), fast[row], **TOLERANCE)
        rows.grow()


def test_rows_may_be_permuted_rewound_and_left_out_between_calls(model: Any, exact_logprobs: Any) -> None:
    slow, decoder, rows = exact_logprobs(model), CachedDecoder(model), Rows(4, seed=4)
    for step in range(40):
        if step % 5 == 3:
            order = rows.rng.permutation(4)
            rows.ids, rows.limit = [rows.ids[row] for row in order], [rows.limit[row] for row in order]
        if step % 7 == 5:
            rows.ids[step % 4] = rows.ids[step % 4][:1]
        rows.live[:] = rows.rng.random(4) < 0.7
        rows.live[step % 4] = True
        fast = logprobs(decoder, rows)
        for row in np.flatnonzero(rows.live):
            np.testing.assert_allclose(fast[row], slow(rows.ids[row])[-1], **TOLERANCE)
        rows.live[:] = True
        rows.grow()


def test_one_token_a_step_is_computed_while_rows_continue(model: Any) -> None:
    decoder, rows, counts = CachedDecoder(model), Rows(4, seed=5), computed(model)
    rows.limit = [P + C] * 4
    for _ in range(5):
        logprobs(decoder, rows)
        rows.grow()
    assert counts[1:] == [4] * 4


def test_rows_that_have_ended_are_no_longer_computed_once_they_are_half(model: Any) -> None:
    decoder, rows, counts = CachedDecoder(model), Rows(8, seed=8), computed(model)
    rows.limit = [P + C] * 8
    for n_live in (8, 7, 5, 4, 4, 2, 1):
        rows.live[n_live:] = False
        logprobs(decoder, rows)
        rows.grow(idle=1.0)
    assert counts[1:] == [8, 8, 4, 4, 2, 1]


def test_new_parameters_count_after_reset(model: Any, exact_logprobs: Any) -> None:
    decoder, rows = CachedDecoder(model), Rows(3, seed=6)
    logprobs(decoder, rows)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)
    decoder.reset()
    rows.limit = [P + C] * 3
    rows.grow()
    fast = logprobs(decoder, rows)
    for row in range(3):
        np.testing.assert_allclose(fast[row], exact_logprobs(model)(rows.ids[row])[-1], **TOLERANCE)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_reference_scores_completions_and_next_tokens_alike(
    make_model: Any, exact_logprobs: Any, temperature: float
) -> None:
    """Two rows of the model's vocabulary are padding: they get no probability."""
    for kind in ("gpt2", "llama"):
        model = make_model(kind, vocab_size=V + 2)
        reference = FrozenReference(model, vocab_size=V, temperature=temperature)
        slow, rows = exact_logprobs(model, vocab_size=V, temperature=temperature), Rows(5, seed=7)
        for _ in range(4):
            rows.grow()
        ids, mask = rows.observation()
        scored = reference.completion_logprobs(ids, mask, 5)
        ahead = reference.decoder().next_logprobs(ids, mask, rows.live)
        assert ahead.shape == (5, V)
        for row, tokens in enumerate(rows.ids):
            expected = slow(tokens)
            np.testing.assert_allclose(ahead[row], expected[-1], **TOLERANCE)
            for back in range(1, min(5, len(tokens) - 1) + 1):
                assert scored[row, -back] == pytest.approx(expected[-back - 1, tokens[-back]], abs=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "qwen2"])
def test_the_references_logits_are_bounded_however_many_completions_it_scores(
    kind: str, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, rows = FrozenReference(make_model(kind), vocab_size=V), Rows(7, seed=3)
    for _ in range(4):
        rows.grow()
    ids, mask = rows.observation()
    whole = reference.completion_logprobs(ids, mask, 5)
    sizes: list[int] = []
    head = reference.model.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, logits: sizes.append(logits.numel()))
    monkeypatch.setattr("textrl_env.reference.MOST_LOGITS", 2 * 5 * V)
    np.testing.assert_allclose(reference.completion_logprobs(ids, mask, 5), whole, **TOLERANCE)
    assert len(sizes) == 4, "two rows at a time"
    if kind == "gpt2":  # Packed: nothing but what is read. Others bring what stands beside it.
        assert max(sizes) <= 2 * 5 * V


def test_the_reference_is_a_copy_that_stays_as_it_is(model: Any) -> None:
    model.train()
    reference = FrozenReference(model, vocab_size=V)
    before = copy.deepcopy(reference.model.state_dict())
    mine = {parameter.data_ptr() for parameter in reference.model.parameters()}
    assert mine.isdisjoint(parameter.data_ptr() for parameter in model.parameters())
    assert model.training
    assert not reference.model.training
    assert not any(parameter.requires_grad for parameter in reference.model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    for name, value in reference.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_reference_with_too_small_a_vocabulary_names_both_sizes(model: Any) -> None:
    with pytest.raises(InputError, match=r"knows 8 tokens, the tokenizer has 9"):
        FrozenReference(model, vocab_size=9)
