"""Which parameters of a transformer learn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from textrl_env.errors import InputError
from textrl_env.lm.adapters import train_top_layers


def test_only_the_last_layers_and_the_norm_get_gradients(model: Any) -> None:
    train_top_layers(model, 1)
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learning and all(".1." in name or "norm" in name or "ln_f" in name for name in learning)
    assert any(".1." in name for name in learning) and not any(".0." in name for name in learning)


def test_none_leaves_everything_learning(model: Any) -> None:
    train_top_layers(model, None)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("n", [0, 3])
def test_impossible_numbers_are_named(make_model: Callable[..., Any], n: int) -> None:
    with pytest.raises(InputError, match=rf"must be in \[1, 2\], got {n}"):
        train_top_layers(make_model("llama"), n)
