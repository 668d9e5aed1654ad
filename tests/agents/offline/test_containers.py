"""The trainings on rows take them in any container: a data frame trains to the same bits as a list."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from textrl_env import InputError
from textrl_env.agents import DPOConfig, KTOConfig, SFTConfig, train_dpo, train_kto, train_sft
from textrl_env.worlds import LetterTokenizer

pd = pytest.importorskip("pandas")
ROWS: list[dict[str, Any]] = [
    {"prompt": "abc", "completion": "de", "chosen": "de", "rejected": "f", "label": True},
    {"prompt": "f", "completion": "gab", "chosen": "gab", "rejected": "fe", "label": False},
]
TRAININGS: dict[str, tuple[Callable[..., Any], Any]] = {
    "SFT": (train_sft, SFTConfig(n_steps=2, batch_size=2)),
    "DPO": (train_dpo, DPOConfig(n_steps=2, batch_size=2)),
    "KTO": (train_kto, KTOConfig(n_steps=2, batch_size=2)),
}


@pytest.mark.parametrize(("train", "config"), TRAININGS.values(), ids=TRAININGS)
def test_a_data_frame_and_a_generator_train_to_the_bits_of_a_list(
    train: Callable[..., Any], config: Any, make_model: Callable[..., Any]
) -> None:
    def parameters(rows: Iterable[Any]) -> torch.Tensor:
        model = make_model("gpt2")
        train(model, LetterTokenizer(8), rows, config)
        return torch.nn.utils.parameters_to_vector(model.parameters())

    expected = parameters(ROWS)
    assert not torch.equal(expected, torch.nn.utils.parameters_to_vector(make_model("gpt2").parameters()))
    for rows in (pd.DataFrame(ROWS), (row for row in ROWS)):
        assert torch.equal(parameters(rows), expected)


@pytest.mark.parametrize(("train", "config"), TRAININGS.values(), ids=TRAININGS)
def test_columns_instead_of_rows_are_refused(train: Callable[..., Any], config: Any, make_model: Any) -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    with pytest.raises(InputError, match="must be rows, got a dict of 'prompt', 'completion'"):
        train(make_model("gpt2"), LetterTokenizer(8), columns, config)
