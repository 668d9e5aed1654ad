"""Inverse transform sampling against the probabilities it was given."""

import pytest
import torch

from textrl_env.agents.policy import draw


@pytest.mark.parametrize("vocab_size", [2, 7, 3000])
def test_frequencies_are_the_probabilities(vocab_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.softmax(2 * torch.randn(vocab_size, generator=generator), dim=-1)
    n = 200_000 if vocab_size < 1000 else 50_000
    tokens = torch.cat([draw(probabilities.expand(1000, -1), generator) for _ in range(n // 1000)])
    counts = torch.bincount(tokens, minlength=vocab_size).double()
    expected = n * probabilities.double()
    frequent = expected >= 5
    chi_squared = ((counts - expected) ** 2 / expected)[frequent].sum()
    degrees = int(frequent.sum()) - 1
    assert abs(float(chi_squared) - degrees) < 5 * (2 * degrees) ** 0.5


def test_what_is_impossible_is_never_drawn() -> None:
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw(probabilities, generator) for _ in range(2000)])
    assert set(drawn[:, 0].tolist()) == {1, 3}
    assert set(drawn[:, 1].tolist()) == {4}
    assert set(drawn[:, 2].tolist()) == {0}


def test_rare_tokens_of_a_large_vocabulary_keep_their_share() -> None:
    """Half of the probability is spread over the last 49,999 tokens; float32 sums would round most of them."""
    probabilities = torch.full((1, 50_000), 0.5 / 49_999)
    probabilities[0, 0] = 0.5
    generator = torch.Generator().manual_seed(0)
    tokens = torch.cat([draw(probabilities.expand(200, -1), generator) for _ in range(50)])
    rare = tokens[tokens > 0]
    assert abs(len(rare) - 5000) < 250
    assert abs(float(rare.double().mean()) - 25_000) < 1000
    assert rare.unique().numel() > 0.9 * len(rare)
