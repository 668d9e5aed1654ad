"""`textrl generate`: completions of a file's prompts, as rows that TRL's tools read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.data.text import as_completion
from textrl_env.errors import InputError, require_at_least
from textrl_env.pipeline.runs import encode_fitting_prompts, find_policy, write_jsonl


@dataclass(frozen=True)
class Generate:
    """Completes the prompts of a file; writes rows."""

    policy: Path
    """A model's folder, or a run's with policy/."""
    prompts: Path
    """JSONL, JSON, CSV, TXT or Parquet with a column prompt: texts or conversations."""
    out: Path
    """The JSONL file to write; an earlier one is replaced."""
    n: int = 1
    """Completions per prompt."""
    temperature: float | None = None
    """Of sampling; 0 takes the likeliest token. By default the model's own."""
    max_new_tokens: int | None = None
    """Longest completion, in tokens; by default the model's own, or 128."""
    batch_size: int = 256
    """Completions that are sampled side by side."""
    seed: int = 0
    """Of sampling."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop, or be left out and counted."""

    def run(self) -> None:
        """Samples, writes and says where."""
        require_at_least(1, n=self.n, batch_size=self.batch_size)
        if self.temperature is not None:
            require_at_least(0, temperature=self.temperature)
        if self.max_new_tokens is not None:
            require_at_least(1, max_new_tokens=self.max_new_tokens)
        if self.out.is_dir():
            raise InputError(f"{self.out}: is a folder, expected the file to write")
        folder = find_policy(self.policy)
        dataset = PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
        if taken := {"completion", "finish_reason", "n_tokens"} & set(dataset.columns):
            raise InputError(f"{self.prompts}: the column {min(taken)!r} would be overwritten; rename or remove it")

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions

        model: Any = AutoModelForCausalLM.from_pretrained(folder)
        own = model.generation_config
        limit = self.max_new_tokens or own.max_new_tokens or 128
        tokenizer = encode_fitting_prompts(folder, dataset, max_new_tokens=limit).tokenizer
        completions = sample_completions(
            model, tokenizer, dataset.prompts, max_new_tokens=limit, n=self.n, batch_size=self.batch_size,
            temperature=self.temperature if self.temperature is not None else (own.temperature or 1.0), seed=self.seed,
            description="completions",
        )  # fmt: skip
        write_jsonl(self.out, _rows(dataset, completions, tokenizer.eos_token_id))
        print(f"{self.n * len(dataset)} completions of {len(dataset)} prompts are in {self.out}")


def _rows(dataset: PromptDataset, completions: list[list[Any]], eos: int | None) -> Iterator[dict[str, Any]]:
    for index, prompt in enumerate(dataset.prompts):
        for completion in completions[index]:
            yield {
                **{name: values[index] for name, values in dataset.columns.items()},
                "prompt": prompt,
                "completion": as_completion(prompt, completion.text),
                "finish_reason": "eos" if completion.ids[-1] == eos else "length",
                "n_tokens": len(completion.ids),
            }
