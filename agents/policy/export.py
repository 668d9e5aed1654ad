"""A trained policy as a folder that other programs use: weights, tokenizer, how to sample, and a model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import GenerationConfig

from textrl_env.data.text import end_token_ids, pad_id
from textrl_env.files import exporting


@dataclass(frozen=True)
class ModelCard:
    """The facts that a reader of the model's page must know.

    Attributes:
        method: how it was trained, "PPO" for instance.
        base: what it started from.
        data: the prompts or demonstrations.
        seed: of everything random.
        command: that made it.
        reward: what it was rewarded for; empty without one.
        kl: what kept it near its reference; empty without one.
        metrics: measured figures by name.
    """

    method: str
    base: str
    data: str
    seed: int
    command: str
    reward: str = ""
    kl: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def text(self) -> str:
        """Renders the card in Markdown, with the metadata of the Hugging Face hub in front."""
        tags = ["textrl-env", self.method.lower(), *(["reinforcement-learning"] if self.reward else [])]
        front = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": tags}
        facts = {
            "Method": self.method,
            "Started from": self.base,
            "Data": self.data,
            "Reward": self.reward,
            "KL": self.kl,
            "Seed": str(self.seed),
        }
        lines = [f"# A language model trained with {self.method}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {_in_cell(fact)} |" for name, fact in facts.items() if fact]
        if self.metrics:
            lines += ["", "## Measured", "", "| | |", "|---|---|"]
            lines += [f"| {_in_cell(name)} | {value:.4g} |" for name, value in self.metrics.items()]
        lines += ["", "## Made with", "", "```sh", self.command, "```", "", "## Use", "", USE]
        return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n" + "\n".join(lines)


USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModelForCausalLM.from_pretrained(FOLDER)
inputs = tokenizer(PROMPT, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))
```

`generate` samples as in training: `generation_config.json` has the temperature, the length limit and the end token.
"""


def export_policy(
    folder: str | Path,
    model: Any,
    tokenizer: Any,
    card: ModelCard,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    eos_token_ids: Sequence[int] | None = None,
) -> Path:
    """Writes config, weights, generation_config.json, tokenizer with chat template, and README.md; returns the folder.

    The folder has all of them or, if it cannot be written, what it had before (then InputError).

    Args:
        folder: made if need be; a model that is there is replaced, other files stay.
        model: a causal LM of transformers.
        tokenizer: of transformers.
        card: for README.md.
        max_new_tokens: longest completion in training, the default of `generate`.
        temperature: of sampling in training.
        eos_token_ids: the tokens that ended a completion in training; None for the tokenizer's end token and those of
            the model's generation settings.
    """
    end_ids = end_token_ids(tokenizer, model) if eos_token_ids is None else tuple(eos_token_ids)
    sampling = GenerationConfig(
        # All tokens may be drawn, as in training; transformers would keep the likeliest 50.
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        # One as a number, which every reader of such a file takes.
        eos_token_id=list(end_ids) if len(end_ids) > 1 else next(iter(end_ids), None),
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=pad_id(tokenizer),
    )
    with exporting(folder) as new:
        model.save_pretrained(new)
        sampling.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "README.md").write_text(card.text(), encoding="utf-8")
    return Path(folder)


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
