"""The datasets of Hugging Face as rows; what they and their formats yield is the same prompts and columns."""

from typing import Any

import pytest

from textrl_env import InputError, PromptDataset

datasets = pytest.importorskip("datasets")
ROWS: list[dict[str, Any]] = [{"prompt": "ab", "n": 1, "x": None}, {"prompt": "c", "n": 2, "x": 0.5}]


@pytest.mark.parametrize("row_format", [None, "numpy", "pandas", "torch", "arrow"])
def test_a_dataset_is_rows_in_every_format(row_format: str | None) -> None:
    dataset = datasets.Dataset.from_list(ROWS).with_format(row_format)
    assert PromptDataset.of(dataset) == PromptDataset.of(ROWS)


def test_streams_columns_and_conversations_are_rows() -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    assert PromptDataset.of(dataset.to_iterable_dataset()) == PromptDataset.of(ROWS)
    assert PromptDataset.of(dataset["prompt"]).prompts == ("ab", "c")
    rows = [{"prompt": [{"role": "user", "content": "ab"}], "answer": "c"}]
    assert PromptDataset.of(datasets.Dataset.from_list(rows)) == PromptDataset.of(rows)


def test_splits_and_columns_are_refused() -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    with pytest.raises(InputError, match="got a DatasetDict of 'train'; pass one of its values"):
        PromptDataset.of(datasets.DatasetDict(train=dataset))
    with pytest.raises(InputError, match="got a dict of 'prompt', 'n', 'x'"):
        PromptDataset.of(dataset[:])
