"""A local causal LM as the judge: the logits of the answer letters, where the answer is due."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from textrl_env.data.text import encode_completion, encode_prompts, pad_id
from textrl_env.errors import InputError, require_count
from textrl_env.lm import check_fits, context_length, load_model, load_tokenizer, resolve_model
from textrl_env.lm.forward import read_logits, require_causal
from textrl_env.reward_models.ai_feedback.judges.questions import FloatArray, JudgeQuestion
from textrl_env.reward_models.ai_feedback.judges.requests import (
    LETTERS,
    compute_model_identity,
    request_comparison,
)


class LanguageModelJudge:
    """Judges by P(A) = softmax over the logits of the letters A and B, of the next token after the question.

    With a chat template the question is a user's message, else a text that ends with "Answer:".

    Args:
        model: a causal LM of transformers; put into eval mode.
        tokenizer: its own.
        name: goes into the column `annotator`.
        identity: see `Answerer.identity`; by default the name.
        batch_size: questions per forward.

    Raises:
        InputError: the letters are not single tokens of this tokenizer.
    """

    workers = 1

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, identity: str | None = None, batch_size: int = 16
    ) -> None:
        require_count(1, batch_size=batch_size)
        require_causal(model, role="the judge")
        check_fits(model, tokenizer, name="the judge")
        self.model, self.tokenizer, self.batch_size = model.eval(), tokenizer, batch_size
        self.name, self.identity = name, identity or name
        self._letters = _find_letter_ids(tokenizer)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, batch_size: int = 16) -> "LanguageModelJudge":
        """Loads the model in a folder; its name is the folder's, its identity follows from the weights too."""
        folder = resolve_model(folder)
        model = load_model(AutoModelForCausalLM, folder, dtype=torch.float32)
        name, identity = compute_model_identity(folder)
        return cls(model, load_tokenizer(folder), name=name, identity=identity, batch_size=batch_size)

    def check(self, questions: Sequence[JudgeQuestion]) -> None:
        """Raises InputError naming a question that is longer than the model's context."""
        limit = context_length(self.model)
        for question, ids in zip(questions, self.encode(questions), strict=True):
            if limit is not None and len(ids) > limit:
                raise InputError(
                    f"a comparison has {len(ids)} tokens, the context of the judge {self.name} is {limit}; take a "
                    f"model with a longer one, or remove the prompt {question.prompt!r:.80}"
                )

    def encode(self, questions: Sequence[JudgeQuestion]) -> list[list[int]]:
        """Returns the token ids of each question, up to where the letter is due."""
        prompts = [request_comparison(question).prompt(self.tokenizer) for question in questions]
        return encode_prompts(self.tokenizer, prompts)

    @torch.inference_mode()
    def prefers_first(self, questions: Sequence[JudgeQuestion]) -> FloatArray:
        """Returns how likely the first reply is better; a forward per `batch_size` questions of similar length."""
        rows = self.encode(questions)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        probabilities = np.empty(len(rows))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            probabilities[batch] = self._forward([rows[index] for index in batch])
        return probabilities

    def _forward(self, rows: list[list[int]]) -> FloatArray:
        device = next(self.model.parameters()).device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        positions = torch.arange(int(lengths.max()), device=device)
        fill = pad_id(self.tokenizer)
        ids = torch.tensor([[*row, *[fill] * (len(positions) - len(row))] for row in rows], device=device)
        mask, last = positions < lengths[:, None], positions == lengths[:, None] - 1
        logits = read_logits(self.model, ids, mask, last).logits[:, self._letters]
        return torch.softmax(logits.double(), dim=-1)[:, 0].cpu().numpy()  # type: ignore[no-any-return]


def _find_letter_ids(tokenizer: Any) -> list[int]:
    """Returns the tokens that stand for A and B after a question, with a space before them or without.

    A letter counts if it is exactly one token as it goes on from a question.
    """
    chat = bool(getattr(tokenizer, "chat_template", None))
    for space in ("", " ") if chat else (" ", ""):
        ids = [encode_completion(tokenizer, f"{space}{letter}", end=False) for letter in LETTERS]
        if all(len(letter_ids) == 1 for letter_ids in ids) and ids[0] != ids[1]:
            return [letter_ids[0] for letter_ids in ids]
    raise InputError(
        f"the judge's tokenizer must have a token of its own for each answer, {' and '.join(LETTERS)}; after a "
        f"question it has {ids[0]} and {ids[1]}; take another model"
    )
