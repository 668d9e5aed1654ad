"""A reward model: a sequence classifier with one label, its tokenizer, and scores of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from textrl_env.conversations import Prompt, completion_text
from textrl_env.errors import InputError
from textrl_env.packing import pack, packed_states
from textrl_env.precision import Precision, autocast, checked_precision
from textrl_env.pretrained import load_model, load_tokenizer
from textrl_env.seeded import seeded
from textrl_env.tokenization import encode_completion, encode_prompt, pad_id
from textrl_env.trunks import trunk_of


class RewardModel:
    """Scores completions of prompts; higher is better.

    A text is the prompt's tokens, the completion's and the end token, padded on the right; the score is read at the
    last token that is not padding, as `AutoModelForSequenceClassification` does, and depends neither on the padding
    nor on the other texts of a batch.

    Args:
        model: `AutoModelForSequenceClassification` with `num_labels=1`.
        tokenizer: its own tokenizer; it may differ from the policy's, since only texts are exchanged.
        precision: of the linear layers (see `textrl_env.precision`).
    Raises:
        InputError: more than one label, or a tokenizer with neither pad nor end token.
    """

    def __init__(self, model: Any, tokenizer: Any, *, precision: Precision = "float32") -> None:
        if model.config.num_labels != 1:
            raise InputError(f"a reward model has one label, this one has {model.config.num_labels}; use num_labels=1")
        self.model, self.tokenizer, self.precision = model, tokenizer, checked_precision(precision)
        # Without a pad id the classifier reads the score at the padding, or refuses a batch.
        model.config.get_text_config().pad_token_id = pad_id(tokenizer)
        model.config.pad_token_id = pad_id(tokenizer)
        model.eval()

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, layers: int | None = None, seed: int = 0
    ) -> "RewardModel":
        """From a reward model's folder, or from a causal LM's: then the score head is new, drawn from `seed`.

        With `layers`, only that many of the model's first layers: the middle of a language model says more about a
        text than its end, which is busy with the next word.
        """
        path = Path(path)
        if not (path / "config.json").is_file():
            raise InputError(f"{path}: no model here (no config.json); expected a folder that save_pretrained wrote")
        with seeded(seed):
            first = {} if layers is None else {"num_hidden_layers": layers}
            model = load_model(AutoModelForSequenceClassification, path, num_labels=1, dtype=dtype, **first)
        return cls(model, load_tokenizer(path))

    def save_pretrained(self, path: str | Path) -> None:
        """Writes model and tokenizer; loads with `AutoModelForSequenceClassification`."""
        self.model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    def load_parameters(self, path: str | Path) -> None:
        """Takes the parameters that `save_pretrained` wrote into this model, bit for bit."""
        dtype = next(self.model.parameters()).dtype
        loaded = load_model(AutoModelForSequenceClassification, Path(path), num_labels=1, dtype=dtype)
        self.model.load_state_dict(loaded.state_dict())

    def encode(self, prompt: Prompt, completion: str, *, where: str = "") -> list[int]:
        """Token ids of a prompt with its completion and the end token.

        InputError where they are more than the model's context; it begins with `where`, a row's place.
        """
        prompt_ids = encode_prompt(self.tokenizer, prompt) if prompt else []
        ids = prompt_ids + encode_completion(self.tokenizer, completion)
        limit = self.model.config.get_text_config().max_position_embeddings
        if len(ids) > limit:
            raise InputError(
                f"{where or 'a text'}: prompt and completion have {len(ids)} tokens, the reward model's context is "
                f"{limit}; shorten or remove it: {str(prompt) + completion!r:.80}"
            )
        return ids

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores with gradients: B token lists -> (B,)."""
        fill, device = pad_id(self.tokenizer), next(self.model.parameters()).device
        lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
        at = torch.arange(int(lengths.max()), device=device)
        ids = torch.tensor([[*sequence, *[fill] * (len(at) - len(sequence))] for sequence in sequences]).to(device)
        mask = at < lengths[:, None]
        trunk = trunk_of(self.model)
        if trunk is None:
            scores: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).logits
        else:
            # The classifier is a linear head on the state of the last token that is not padding; where padding and end
            # token are one, that is the token before the end.
            last = (at * (ids != fill)).argmax(dim=1)
            with autocast(self.precision, device):
                states = packed_states(trunk, pack(ids, mask, at == last[:, None]))
            scores = self.model.score(states.to(self.model.score.weight.dtype))
        return scores[:, 0].float()

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[str], *, batch_size: int = 128
    ) -> npt.NDArray[np.float64]:
        """Scores without gradients: B prompts (texts or conversations), B completions -> (B,)."""
        self.model.eval()
        sequences = [self.encode(*pair) for pair in zip(prompts, completions, strict=True)]
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        scores = np.empty(len(sequences))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            scores[batch] = self.forward([sequences[index] for index in batch]).cpu().numpy()
        return scores


class ModelReward:
    """A reward model as the environment's reward function; frozen, it never changes with the policy.

    A conversation is rendered with the reward model's own chat template.

    Args:
        reward_model: its parameters are set to need no gradients.
        whole_text: judges prompt and completion as one text, as a reward model does that was trained on preferences
            between whole texts, with an empty prompt; prompts must be texts.
    """

    def __init__(self, reward_model: RewardModel, *, whole_text: bool = False) -> None:
        reward_model.model.requires_grad_(False)
        self.reward_model, self.whole_text = reward_model, whole_text

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        texts = [completion_text(completion) for completion in completions]
        if self.whole_text:
            texts = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
            prompts = [""] * len(texts)
        scores: list[float] = self.reward_model.score(prompts, texts).tolist()
        return scores
