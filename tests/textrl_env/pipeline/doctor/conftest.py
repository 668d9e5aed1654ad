"""A healthy policy, reward model and prompt file on the disk, for tests to break."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.agents import train_tokenizer
from textrl_env.pipeline.doctor import TrainingSetup
from textrl_env.reward_models import RewardModel

PROMPTS = ["a", "Hello there", "where is my parcel?", "ß", "my order is late, please help me"] + [
    "x" * n for n in (2, 7)
]


class Folder:
    """Files of a case; tests change them, then ask for the case."""

    def __init__(self, path: Path, make_model: Any, kind: str) -> None:
        self.path, self.make_model, self.kind = path, make_model, kind
        self.options: dict[str, Any] = {"max_new_tokens": 8}
        self.prompts = path / "prompts.txt"
        self.prompts.write_text("\n".join(PROMPTS), encoding="utf-8")
        self.policy = self.causal("policy")
        reward_model = RewardModel.from_pretrained(self.policy, seed=3)
        self.reward_model: Path | None = path / "reward_model"
        reward_model.save_pretrained(self.reward_model)

    def causal(self, name: str, *, text: str = "the parcel is late ", seed: int = 0, rows: int = 300) -> Path:
        """A causal LM with a tokenizer trained on a text, in a folder of that name."""
        tokenizer = train_tokenizer([text * 3], vocab_size=270)
        model = self.make_model(self.kind, vocab_size=rows, seed=seed)
        model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id = 0, 1, 2
        model.generation_config = type(model.generation_config).from_model_config(model.config)
        model.save_pretrained(self.path / name)
        tokenizer.save_pretrained(self.path / name)
        return self.path / name

    def case(self) -> TrainingSetup:
        return TrainingSetup(self.policy, reward_model=self.reward_model, prompts=self.prompts, **self.options)


@pytest.fixture
def make_folder(tmp_path: Path, make_model: Any) -> Callable[[str], Folder]:
    return lambda kind: Folder(tmp_path, make_model, kind)


@pytest.fixture
def folder(make_folder: Callable[[str], Folder]) -> Folder:
    """Of a GPT-2: its absolute positions show what rotary ones hide."""
    return make_folder("gpt2")
