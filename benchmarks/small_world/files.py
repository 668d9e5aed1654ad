"""The small world as files, for a library whose environment does not hold textrl_env, which is not imported here.

A folder has the reference policy in `reference/`, a critic of the same trunk in `critic/`, every completion's score in
`scores.safetensors` and how to train in `setting.json`. Token 0 ends a completion, then come the letters, and the id
after the last of them, which the world does not know, pads.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

END = 0


@dataclass(frozen=True)
class Setting:
    """The job: what is the same for every library."""

    letters: str
    horizon: int
    """Most tokens of a completion, the end token among them."""
    coef: float
    """Score given up per nat of KL."""
    n_episodes: int
    """Completions per update."""
    batch_size: int
    """Completions per minibatch."""
    n_epochs: int
    gae_lambda: float
    learning_rate: float
    """The rate at the start; it falls linearly to 0 at the last mark."""
    marks: tuple[int, ...]
    """Completions after which the policy is measured."""

    @property
    def pad(self) -> int:
        """The id that pads."""
        return len(self.letters) + 1


def write_files(
    folder: Path, setting: Setting, reference: Any, prompts: Sequence[str], reward: Callable[..., Sequence[float]]
) -> None:
    """Writes the folder; `reference` is a Llama of the world's tokens, `reward` scores `(prompts, completions)`."""
    config = copy.deepcopy(reference.config)
    config.num_labels = 1
    critic = LlamaForSequenceClassification(config)
    critic.model.load_state_dict(reference.model.state_dict())
    torch.nn.init.zeros_(critic.score.weight)
    critic.save_pretrained(folder / "critic")
    reference.save_pretrained(folder / "reference")
    save_file({prompt: score_table(setting, prompt, reward) for prompt in prompts}, folder / "scores.safetensors")
    (folder / "setting.json").write_text(json.dumps(asdict(setting)))


def score_table(setting: Setting, prompt: str, reward: Callable[..., Sequence[float]]) -> Tensor:
    """(V, ..., V) with an axis for each token: the score of a completion that is filled up with the end token.

    NaN where another token stands behind an end token, since no completion looks so.
    """
    letters = setting.letters
    table = torch.full((len(letters) + 1,) * setting.horizon, float("nan"))
    texts = ["".join(chosen) for length in range(setting.horizon + 1) for chosen in product(letters, repeat=length)]
    for text, score in zip(texts, reward([prompt] * len(texts), texts), strict=True):
        ids = [letters.index(letter) + 1 for letter in text]
        table[(*ids, *[END] * (setting.horizon - len(ids)))] = score
    return table


def read_setting(folder: Path) -> Setting:
    """Reads how to train."""
    options = json.loads((folder / "setting.json").read_text())
    return Setting(**options | {"marks": tuple(options["marks"])})


def letter_tokenizer(setting: Setting) -> PreTrainedTokenizerFast:
    """The world's tokens, and one more for padding, so that an end token is never taken for it."""
    ids = {"<end>": END} | {letter: index for index, letter in enumerate(setting.letters, 1)} | {"<pad>": setting.pad}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


class ScoreTable(torch.nn.Module):
    """The world's reward where a reward model is expected: its trunk looks the score up, its head passes it on."""

    base_model_prefix = "trunk"

    def __init__(self, folder: Path, setting: Setting) -> None:
        super().__init__()
        self._tables = load_file(folder / "scores.safetensors")
        self.prompts = tuple(self._tables)
        self._setting = setting
        self.score = torch.nn.Identity()

    def trunk(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> BaseModelOutput:
        """The score of each row, at all of its positions: (B, L) -> (B, L, 1) as the last hidden state."""
        letters, width = self._setting.letters, len(self.prompts[0])
        scores = []
        for row in input_ids.masked_fill(~attention_mask.bool(), END).tolist():
            prompt = "".join(letters[token - 1] for token in row[:width])
            completion = row[width:] + [END] * (self._setting.horizon - len(row) + width)
            scores.append(self._tables[prompt][tuple(completion)])
        return BaseModelOutput(hidden_states=(torch.stack(scores)[:, None, None].expand(*input_ids.shape, 1),))
