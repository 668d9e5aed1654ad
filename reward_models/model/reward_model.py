"""A reward model: a sequence classifier with one label, its tokenizer, and scores of texts."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from textrl_env.data.text import Prompt, encode_pair, pad_id
from textrl_env.errors import LARGEST_NUMBER, InputError, require_above, require_at_least
from textrl_env.files import exporting
from textrl_env.lm import (
    Precision,
    autocast,
    check_fits,
    checked_precision,
    context_length,
    load_model,
    load_tokenizer,
    resolve_model,
)
from textrl_env.lm.adapters import has_adapters, load_adapters, save_model
from textrl_env.lm.forward import read_states
from textrl_env.lm.loading import MissingHeadError, load_into
from textrl_env.reward_models.model.sampled_ids import SampledIds, SampledReader, pair_texts
from textrl_env.training import seeded

Floats = npt.NDArray[np.float64]


class RewardModel:
    """Scores completions of prompts; higher is better.

    A text is the prompt's tokens, the completion's and the end token, padded on the right; the score is read at the
    last token that is not padding, as `AutoModelForSequenceClassification` does, and depends neither on the padding
    nor on the other texts of a batch. With the last layer's state h there (H,),

        score = w · h + offset,   w in `model.score`, offset in `model.config.score_offset` (0 if it is not there)

    Args:
        model: `AutoModelForSequenceClassification` with `num_labels=1`.
        tokenizer: its own tokenizer; it may differ from the policy's, whose completions are then encoded anew.
        precision: of the linear layers (see `textrl_env.lm`).

    Attributes:
        context: the most tokens of a text, or None.
        reader: encodes completions of a policy.

    Raises:
        InputError: more than one label, a tokenizer with neither pad nor end token, or one with more tokens than the
            model has embeddings.
    """

    def __init__(self, model: Any, tokenizer: Any, *, precision: Precision = "float32") -> None:
        if model.config.num_labels != 1:
            raise InputError(f"a reward model has one label, this one has {model.config.num_labels}; use num_labels=1")
        check_fits(model, tokenizer, name="the reward model")
        place = f"{getattr(model, 'name_or_path', '') or 'the reward model'}: config.json: score_"
        require_at_least(-LARGEST_NUMBER, **{f"{place}offset": getattr(model.config, "score_offset", 0.0)})
        require_above(0, **{f"{place}unit": getattr(model.config, "score_unit", 1.0)})
        self.model, self.tokenizer, self.precision = model, tokenizer, checked_precision(precision)
        # Without a pad id the classifier reads the score at the padding, or refuses a batch.
        model.config.get_text_config().pad_token_id = pad_id(tokenizer)
        model.config.pad_token_id = pad_id(tokenizer)
        self.context = context_length(model)
        self.reader = SampledReader(tokenizer, self.context)
        model.eval()

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, layers: int | None = None, seed: int | None = None
    ) -> "RewardModel":
        """Loads a reward model's folder, or a causal LM's for training to start from: then the score head is new.

        Args:
            path: the folder, or a hub id.
            dtype: of the parameters.
            layers: only that many of the model's first layers: the middle of a language model says more about a text
                than its end, which is busy with the next word.
            seed: a new head is drawn from it. Without one it is drawn from 0, with a warning that nobody trained it;
                `load_reward_model`, which all that scores should use, refuses such a folder.

        Raises:
            InputError: no model there, one that is damaged, or a classifier with more labels than one.
        """
        if seed is None:
            try:
                return cls.from_trained(path, dtype=dtype, layers=layers)
            except MissingHeadError:
                warnings.warn(
                    f"{path}: a language model, whose new score head is random until it is trained; pass seed= where "
                    "training starts, and load with load_reward_model where scores are wanted",
                    stacklevel=2,
                )
        with seeded(seed or 0):
            return cls._load(path, dtype=dtype, layers=layers, new_head=True)

    @classmethod
    def from_trained(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, layers: int | None = None
    ) -> "RewardModel":
        """Loads a reward model as `from_pretrained` does; a causal LM's folder is an InputError."""
        return cls._load(path, dtype=dtype, layers=layers, new_head=False)

    @classmethod
    def _load(cls, path: str | Path, **options: Any) -> "RewardModel":
        path = resolve_model(path)
        return cls(load_model(AutoModelForSequenceClassification, path, num_labels=1, **options), load_tokenizer(path))

    def save_pretrained(self, path: str | Path) -> None:
        """Writes model and tokenizer, whole or not at all; loads with `AutoModelForSequenceClassification`.

        With adapters (`textrl_env.lm.adapters`) their merged weights, and they themselves into `adapter/`. A model that
        was there is replaced, other files stay.
        """
        with exporting(path) as folder:
            self.write_files(folder)

    def write_files(self, folder: Path) -> None:
        """Writes the files of `save_pretrained` into an empty folder."""
        save_model(self.model, folder)
        self.tokenizer.save_pretrained(folder)

    def load_parameters(self, path: str | Path) -> None:
        """Takes the parameters that `save_pretrained` wrote into this model, bit for bit; adapters into adapters."""
        if has_adapters(self.model):
            load_adapters(self.model, Path(path))
            return
        load_into(self.model, AutoModelForSequenceClassification, path, num_labels=1)

    def encode(self, prompt: Prompt, completion: str, *, where: str = "") -> list[int]:
        """Encodes a prompt with its completion and the end token; returns token ids.

        InputError where they are more than the model's context; it begins with `where`, a row's place.
        """
        prompt_ids, completion_ids = encode_pair(self.tokenizer, prompt, completion)
        n_tokens = len(prompt_ids) + len(completion_ids)
        if self.context is not None and n_tokens > self.context:
            raise InputError(
                f"{where or 'a text'}: prompt and completion have {n_tokens} tokens, the reward model's context is "
                f"{self.context}; shorten or remove it: {str(prompt) + completion!r:.80}"
            )
        return [*prompt_ids, *completion_ids]

    def encode_sampled(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> list[list[int]]:
        """Encodes completions of a policy, see `SampledReader.encode`; returns B lists of token ids."""
        return self.reader.encode(prompts, completions, sample)

    def check_lengths(self, tokenizer: Any, max_tokens: int) -> None:
        """Raises InputError where a policy's longest texts cannot be scored as they are, see `SampledReader`."""
        self.reader.check_lengths(tokenizer, max_tokens)

    @property
    def n_truncated(self) -> int:
        """Completions of a policy that were cut to fit the context."""
        return self.reader.n_truncated

    @property
    def offset(self) -> float:
        """Number added to the head's output; `AutoModelForSequenceClassification` has no place for it."""
        return float(getattr(self.model.config, "score_offset", 0.0))

    @property
    def unit(self) -> float:
        """Factor that makes a difference of scores a log odds; not 1 once scores were normalised."""
        return float(getattr(self.model.config, "score_unit", 1.0))

    @property
    def head(self) -> nn.Linear:
        """The linear head on the last state; InputError where the classifier has another kind."""
        head = getattr(self.model, "score", None)
        if not isinstance(head, nn.Linear):
            raise InputError(f"{type(self.model).__name__} has no linear head; this needs a causal LM's classifier")
        return head

    def features(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Computes the last layer's state at the last token, with gradients: B token lists -> (B, H)."""
        ids, mask = self._pad(sequences)
        # Where padding and end token are one, the last token that is not padding is the one before the end.
        positions = torch.arange(ids.shape[1], device=ids.device) * (ids != pad_id(self.tokenizer))
        last = torch.zeros_like(mask).scatter(1, positions.argmax(dim=1, keepdim=True), True)
        with autocast(self.precision, ids.device):
            return read_states(self.model.base_model, ids, mask, last).to(self.head.weight.dtype)

    def forward(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Scores with gradients: B token lists -> (B,)."""
        if isinstance(getattr(self.model, "score", None), nn.Linear):
            return self.read(self.features(sequences))
        ids, mask = self._pad(sequences)
        scores: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).logits
        return scores[:, 0].float() + self.offset

    def read(self, features: Tensor) -> Tensor:
        """Applies the head to (B, H) features; returns scores (B,)."""
        scores: Tensor = self.head(features)
        return scores[:, 0].float() + self.offset

    def _pad(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Pads on the right; returns token ids and mask, (B, L) each."""
        fill, device = pad_id(self.tokenizer), next(self.model.parameters()).device
        lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
        width = int(lengths.max())
        ids = torch.tensor([[*sequence, *[fill] * (width - len(sequence))] for sequence in sequences]).to(device)
        return ids, torch.arange(width, device=device) < lengths[:, None]

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str], *, batch_size: int = 128) -> Floats:
        """Scores without gradients: B prompts (texts or conversations), B completions -> (B,).

        Raises:
            InputError: a text that is longer than the context, or a score that is not a number.
        """
        sequences = [self.encode(*pair) for pair in pair_texts(prompts, completions)]
        return self.score_sequences(sequences, batch_size=batch_size)

    def score_sampled(
        self, prompts: Sequence[Prompt], completions: Sequence[str], sample: SampledIds | None = None
    ) -> Floats:
        """Scores completions of a policy as `encode_sampled` reads them: B, B -> (B,)."""
        return self.score_sequences(self.encode_sampled(prompts, completions, sample))

    def score_sequences(self, sequences: Sequence[Sequence[int]], *, batch_size: int = 128) -> Floats:
        """Scores token lists without gradients: B -> (B,); InputError where a score is not a number."""
        return self._outputs(sequences, batch_size)

    @torch.inference_mode()
    def _outputs(self, sequences: Sequence[Sequence[int]], batch_size: int) -> Floats:
        """Returns what the head says of B token lists, (B,) or (B, K)."""
        self.model.eval()
        outputs: Floats = forward_by_length(self.forward, sequences, batch_size=batch_size).double().cpu().numpy()
        if not np.isfinite(outputs).all():
            raise InputError(self._explain_infinity(outputs[~np.isfinite(outputs)][0]))
        return outputs

    def _explain_infinity(self, score: float) -> str:
        place = (
            f"the reward model {self.model.config.name_or_path or type(self.model).__name__} gave a score of {score}"
        )
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                return f"{place}: its parameter {name} holds NaN or Inf; train it again or take another folder"
        return f"{place} though its parameters are finite: they are too large for {parameter.dtype}; train it again"

    def normalize(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> None:
        """Brings the scores of these completions to mean 0 and standard deviation 1.

        A preference says nothing about a score's zero, and its unit is of no use to a KL coefficient (Ziegler et al.
        2019 normalise on completions of the reference policy). The unit goes into the head, and what it was into
        `config.score_unit`; the zero goes into `config.score_offset`, which plain transformers keeps but does not add.

        Raises:
            InputError: all have one score, or there is none.
        """
        self.normalize_by(self.score(prompts, completions))

    def normalize_by(self, scores: Floats) -> None:
        """Normalises by the scores (N,) that the model gave to some completions; see `normalize`."""
        std = require_spread(scores)
        self.model.config.score_offset = (self.offset - float(scores.mean())) / std
        self.model.config.score_unit = self.unit * std
        with torch.no_grad():
            self.head.weight /= std

    def freeze(self) -> None:
        """Sets all parameters to need no gradients."""
        self.model.requires_grad_(False)


def require_spread(scores: Floats) -> float:
    """Returns the standard deviation of scores (N,), by which they can be divided; InputError where it is 0."""
    # Equal texts may differ by a rounding error, beside others in a batch.
    if not len(scores) or not scores.std() > 1e-6 * np.abs(scores).max():
        raise InputError(f"to normalise scores, completions that differ in score are needed; got {len(scores)} alike")
    return float(scores.std())


def forward_by_length(
    forward: Callable[[Sequence[Sequence[int]]], Tensor], sequences: Sequence[Sequence[int]], *, batch_size: int = 128
) -> Tensor:
    """Runs a forward on N token lists, similar lengths together; returns its outputs in their order, (N, ...).

    Args:
        forward: from B token lists to (B, ...).
        sequences: the token lists.
        batch_size: the largest B.
    """
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if not parts:
        return torch.empty(0)
    outputs = torch.cat([forward([sequences[index] for index in part]) for part in parts])
    return torch.empty_like(outputs).index_copy_(0, torch.tensor(order, device=outputs.device), outputs)
