"""`textrl chat` and `textrl generate`: a policy, or two side by side, in the terminal; completions of a file."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textrl_env.data.text import Prompt, encode_prompt
from textrl_env.errors import InputError, require_seed, shift_seed
from textrl_env.lm import context_length
from textrl_env.pipeline import EndTokenOptions, GenerationOptions, check_sampling, choose_sampling, run_generation
from textrl_env.pipeline.runs import find_policy


@dataclass(frozen=True)
class Generate(GenerationOptions):
    """Completes the prompts of a file; writes rows."""

    def run(self) -> None:
        """Samples, writes and says where."""
        counts = run_generation(self)
        print(f"{counts['n_completions']} completions of {counts['n_prompts']} prompts are in {self.out}")


@dataclass(frozen=True)
class Chat(EndTokenOptions):
    """Talks with a policy in the terminal, or with two side by side; /new ends a conversation."""

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A model's folder, or a run's with policy/. Without a chat template each line is completed by itself."""
    against: Path | None = None
    """Another, to be shown beside it."""
    temperature: float | None = None
    """Of sampling; 0 takes the likeliest token. By default the model's own."""
    max_new_tokens: int | None = None
    """Longest completion, in tokens; by default the model's own, or 128."""
    seed: int = 0
    """Of sampling; the n-th line is answered with seed + n."""

    def __post_init__(self) -> None:
        check_sampling(self.temperature, self.max_new_tokens)
        require_seed(self.seed)

    def run(self) -> None:
        """Reads lines until the end of input or /quit."""
        paths = [path for path in (self.run_dir, self.against) if path is not None]
        folders = [find_policy(path) for path in paths]
        speakers = [Speaker(folder, self) for folder in folders]
        console = Console()
        for turn, line in enumerate(read_lines(console)):
            if line == "/new":
                for speaker in speakers:
                    speaker.forget()
                continue
            answers = [speaker.answer(line, seed=shift_seed(self.seed, turn)) for speaker in speakers]
            print_answers(console, list(map(str, paths)), answers)


class Speaker:
    """A model with its tokenizer, its way of sampling and, with a chat template, the conversation so far."""

    def __init__(self, folder: Path, options: Chat) -> None:
        from transformers import AutoModelForCausalLM

        from textrl_env.lm import load_model, load_tokenizer

        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(AutoModelForCausalLM, folder).eval()
        self.temperature, self.max_new_tokens = choose_sampling(self.model, options.temperature, options.max_new_tokens)
        self.folder, self.eos_token_ids = folder, options.eos_token_ids
        self.forget()

    def forget(self) -> None:
        """Ends the conversation."""
        self.messages: list[dict[str, str]] = []

    def answer(self, line: str, *, seed: int) -> str:
        """Returns the completion of a line, or the answer in the conversation."""
        from textrl_env.agents import sample_completions

        prompt: Prompt = line
        if has_template := bool(getattr(self.tokenizer, "chat_template", None)):
            self.messages.append({"role": "user", "content": line})
            prompt = self.messages
        ((completion,),) = sample_completions(
            self.model,
            self.tokenizer,
            [prompt],
            max_new_tokens=self._room(prompt),
            temperature=self.temperature,
            eos_token_ids=self.eos_token_ids,
            seed=seed,
            description=None,
        )
        if has_template:
            self.messages.append({"role": "assistant", "content": completion.text})
        return completion.text

    def _room(self, prompt: Prompt) -> int:
        """The most tokens of an answer: fewer where the context ends before; InputError where it has ended."""
        context, n_tokens = context_length(self.model), len(encode_prompt(self.tokenizer, prompt))
        if context is None:
            return self.max_new_tokens
        if n_tokens >= context:
            raise InputError(
                f"{self.folder}: the line, with the conversation before it, has {n_tokens} tokens and leaves no room "
                f"for an answer in the context of {context}; /new starts a new conversation"
            )
        return min(self.max_new_tokens, context - n_tokens)


def read_lines(console: Console) -> Iterator[str]:
    """Yields the lines that are typed, or come from a pipe; blank lines left out, /quit ends."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        console.print("/new starts anew, /quit or Ctrl-D ends", style="dim", highlight=False)
    while True:
        try:
            line = console.input("[bold]> [/bold]") if is_terminal else input()
        except EOFError:
            return
        if line.strip() == "/quit":
            return
        if line.strip():
            # In a file the lines cannot hold a line break; one is written \n.
            yield line.strip() if line.startswith("/") else line.replace("\\n", "\n")


def print_answers(console: Console, titles: list[str], answers: list[str]) -> None:
    """Prints one answer as it is, several in columns of equal width."""
    if len(answers) == 1:
        console.print(Text(answers[0]))
        return
    table = Table(expand=True)
    for title in titles:
        table.add_column(Text(title, overflow="fold"), ratio=1, overflow="fold")
    # As Text: square brackets in a completion are no markup.
    table.add_row(*map(Text, answers))
    console.print(table)
