"""Completions of a file's prompts, as rows that TRL's tools read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.data.text import as_completion
from textrl_env.errors import InputError, require_at_least, require_count, require_seed
from textrl_env.pipeline.option_paths import InputFile, OutputFile, check_paths
from textrl_env.pipeline.runs import encode_fitting_prompts, find_policy, write_jsonl

LONGEST = 128
"""Tokens of a completion where neither the user nor the model says how long it may be."""


@dataclass(frozen=True, kw_only=True)
class EndTokenOptions:
    """Options of every stage that samples."""

    eos_token_ids: tuple[int, ...] | None = None
    """Tokens that end a completion; else the model's own."""


@dataclass(frozen=True)
class GenerationOptions(EndTokenOptions):
    """Completes the prompts of a file; writes rows."""

    policy: Path
    """A model's folder, or a run's with policy/."""
    prompts: InputFile
    """JSONL, JSON, CSV, TXT or Parquet with a column prompt: texts or conversations."""
    out: OutputFile
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

    def __post_init__(self) -> None:
        require_count(1, n=self.n, batch_size=self.batch_size)
        check_sampling(self.temperature, self.max_new_tokens)
        require_seed(self.seed)


def run_generation(options: GenerationOptions) -> dict[str, int]:
    """Writes the rows of the prompts' file, n times each, with `completion`, `finish_reason` and `n_tokens`.

    Returns:
        How many completions and prompts there are.

    Raises:
        InputError: an option or a row is wrong; it is named.
    """
    check_paths(options)
    folder = find_policy(options.policy)
    dataset = PromptDataset.from_file(options.prompts, on_bad_row=options.on_bad_row)
    if clash := {"completion", "finish_reason", "n_tokens"} & set(dataset.columns):
        raise InputError(f"{options.prompts}: the column {min(clash)!r} would be overwritten; rename or remove it")

    from transformers import AutoModelForCausalLM

    from textrl_env.agents import sample_completions
    from textrl_env.lm import load_model

    model = load_model(AutoModelForCausalLM, folder)
    temperature, limit = choose_sampling(model, options.temperature, options.max_new_tokens)
    fitting = encode_fitting_prompts(folder, dataset, max_new_tokens=limit, on_bad_row=options.on_bad_row)
    dataset, tokenizer = fitting.dataset, fitting.tokenizer
    completions = sample_completions(
        model,
        tokenizer,
        dataset.prompts,
        max_new_tokens=limit,
        n=options.n,
        batch_size=options.batch_size,
        temperature=temperature,
        eos_token_ids=options.eos_token_ids,
        seed=options.seed,
        description="completions",
    )
    write_jsonl(options.out, _as_rows(dataset, completions))
    return {"n_completions": options.n * len(dataset), "n_prompts": len(dataset)}


def check_sampling(temperature: float | None, max_new_tokens: int | None) -> None:
    """Raises InputError naming the option of sampling that is out of range."""
    if temperature is not None:
        require_at_least(0, temperature=temperature)
    if max_new_tokens is not None:
        require_count(1, max_new_tokens=max_new_tokens)


def choose_sampling(model: Any, temperature: float | None, max_new_tokens: int | None) -> tuple[float, int]:
    """Returns temperature and length of sampling: the user's, else the model's own, else 1 and 128 tokens."""
    config = model.generation_config
    return (
        temperature if temperature is not None else (config.temperature or 1.0),
        max_new_tokens or config.max_new_tokens or LONGEST,
    )


def _as_rows(dataset: PromptDataset, completions: list[list[Any]]) -> Iterator[dict[str, Any]]:
    for index, prompt in enumerate(dataset.prompts):
        for completion in completions[index]:
            yield {
                **{name: values[index] for name, values in dataset.columns.items()},
                "prompt": prompt,
                "completion": as_completion(prompt, completion.text),
                "finish_reason": completion.finish_reason,
                "n_tokens": len(completion.ids),
            }
