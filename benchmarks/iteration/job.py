"""The job that all variants do: sizes, networks, prompts and a tokenizer, written to a folder that each of them reads.

Imports nothing of textrl_env, since the peers' environments do not hold it.
"""

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """A GPT-2 of random weights, and how much of it is done in one iteration."""

    layers: int
    width: int
    vocabulary: int
    completions: int = 64
    """Per iteration, and all in one minibatch."""
    tokens: int = 32
    """Of each completion; nothing ends one earlier."""
    epochs: int = 4
    learning_rate: float = 1e-5
    """Small, so that what is sampled stays alike over the iterations."""
    kl_coef: float = 0.05
    group: int = 8
    """Completions per prompt, for the algorithms without a critic."""


SIZES = {"XS": Size(2, 64, 256), "S": Size(4, 256, 1024), "M": Size(6, 512, 2048)}
SHORTEST_PROMPT, LONGEST_PROMPT, PROMPTS = 4, 16, 512


def write_job(folder: Path, size: Size) -> None:
    """Writes `policy/`, `reward_model/` and `critic/` (each with the tokenizer), `prompts.json` and `size.json`."""
    transformers.utils.logging.disable_progress_bar()
    tokenizer = word_tokenizer(size.vocabulary)
    config = GPT2Config(
        vocab_size=size.vocabulary,
        n_positions=LONGEST_PROMPT + size.tokens + 8,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=max(2, size.width // 64),
        num_labels=1,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy, reward_model = GPT2LMHeadModel(config), GPT2ForSequenceClassification(config)
        critic = GPT2ForSequenceClassification(config)
    _never_choose(policy, [tokenizer.pad_token_id, tokenizer.eos_token_id])
    # Every library starts its critic from the policy's trunk with a head that says 0.
    critic.transformer.load_state_dict(policy.transformer.state_dict())
    torch.nn.init.zeros_(critic.score.weight)
    for name, model in {"policy": policy, "reward_model": reward_model, "critic": critic}.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    (folder / "prompts.json").write_text(json.dumps(random_prompts(size.vocabulary)))
    (folder / "size.json").write_text(json.dumps(asdict(size)))


@dataclass(frozen=True)
class Job:
    """A job's folder, as the variants read it."""

    folder: Path

    @property
    def size(self) -> Size:
        return Size(**json.loads((self.folder / "size.json").read_text()))

    @property
    def prompts(self) -> list[str]:
        prompts: list[str] = json.loads((self.folder / "prompts.json").read_text())
        return prompts

    def tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.folder / "policy")

    def policy(self, precision: str = "float32", **config: Any) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.folder / "policy", dtype=DTYPES[precision], **config)

    def classifier(self, name: str, precision: str = "float32", **config: Any) -> Any:
        """`"reward_model"` or `"critic"`: a GPT-2 with one label."""
        return AutoModelForSequenceClassification.from_pretrained(self.folder / name, dtype=DTYPES[precision], **config)


def _never_choose(policy: GPT2LMHeadModel, tokens: list[int]) -> None:
    """Gives some tokens logits of about -100, so that no completion ends early or loses a token as text."""
    with torch.no_grad():
        # The final bias is 10 in a direction in which only these tokens' output embeddings stand, at -10.
        policy.transformer.ln_f.bias[0] = 10.0
        policy.transformer.wte.weight[:, 0] = 0.0
        policy.transformer.wte.weight[tokens, 0] = -10.0


def word_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """One token a word, so that a text has the same tokens again after decoding and encoding."""
    words = {"<pad>": 0, "<end>": 1} | {f"w{token}": token for token in range(2, vocabulary)}
    model = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="<end>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def random_prompts(vocabulary: int) -> list[str]:
    """512 texts of 4 to 16 words; the same at every call."""
    rng = random.Random(0)
    lengths = [rng.randint(SHORTEST_PROMPT, LONGEST_PROMPT) for _ in range(PROMPTS)]
    return [" ".join(f"w{rng.randrange(2, vocabulary)}" for _ in range(length)) for length in lengths]
