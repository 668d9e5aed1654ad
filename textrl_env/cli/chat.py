"""`textrl chat`: a policy in the terminal, or two side by side."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textrl_env.data.text import Prompt
from textrl_env.errors import require_at_least
from textrl_env.pipeline.runs import find_policy


@dataclass(frozen=True)
class Chat:
    """Talks with a policy in the terminal, or with two side by side.

    /new ends a conversation; without a chat template each line is completed by itself.
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A model's folder, or a run's with policy/."""
    against: Path | None = None
    """Another, to be shown beside it."""
    temperature: float | None = None
    """Of sampling; 0 takes the likeliest token. By default the model's own."""
    max_new_tokens: int | None = None
    """Longest completion, in tokens; by default the model's own, or 128."""
    seed: int = 0
    """Of sampling; the n-th line is answered with seed + n."""

    def run(self) -> None:
        """Reads lines until the end of input or /quit."""
        folders = [find_policy(path) for path in (self.run_dir, self.against) if path is not None]
        if self.temperature is not None:
            require_at_least(0, temperature=self.temperature)
        if self.max_new_tokens is not None:
            require_at_least(1, max_new_tokens=self.max_new_tokens)
        speakers = [_Speaker(folder, self.temperature, self.max_new_tokens) for folder in folders]
        titles = [str(path) for path in (self.run_dir, self.against) if path is not None]
        console = Console()
        for turn, line in enumerate(_lines(console)):
            if line == "/new":
                for speaker in speakers:
                    speaker.forget()
                continue
            show(console, titles, [speaker.answer(line, seed=self.seed + turn) for speaker in speakers])


def show(console: Console, titles: list[str], answers: list[str]) -> None:
    """One answer as it is, several in columns of equal width."""
    if len(answers) == 1:
        console.print(Text(answers[0]))
        return
    table = Table(expand=True)
    for title in titles:
        table.add_column(Text(title, overflow="fold"), ratio=1, overflow="fold")
    # As Text: square brackets in a completion are no markup.
    table.add_row(*map(Text, answers))
    console.print(table)


def _lines(console: Console) -> Iterator[str]:
    """What is typed, or what comes from a pipe; blank lines left out, /quit ends."""
    terminal = sys.stdin.isatty()
    if terminal:
        console.print("/new starts anew, /quit or Ctrl-D ends", style="dim", highlight=False)
    while True:
        try:
            line = console.input("[bold]> [/bold]") if terminal else input()
        except EOFError:
            return
        if line.strip() == "/quit":
            return
        if line.strip():
            # In a file the lines cannot hold a line break; one is written \n.
            yield line.strip() if line.startswith("/") else line.replace("\\n", "\n")


class _Speaker:
    """A model with its tokenizer, its way of sampling and, with a chat template, the conversation so far."""

    def __init__(self, folder: Path, temperature: float | None, max_new_tokens: int | None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        own = self.model.generation_config
        self.temperature = temperature if temperature is not None else (own.temperature or 1.0)
        self.max_new_tokens = max_new_tokens or own.max_new_tokens or 128
        self.forget()

    def forget(self) -> None:
        """Ends the conversation."""
        self.messages: list[dict[str, str]] = []

    def answer(self, line: str, *, seed: int) -> str:
        """The completion of a line, or the answer in the conversation."""
        from textrl_env.agents import sample_completions

        prompt: Prompt = line
        if chats := bool(getattr(self.tokenizer, "chat_template", None)):
            self.messages.append({"role": "user", "content": line})
            prompt = self.messages
        ((completion,),) = sample_completions(
            self.model, self.tokenizer, [prompt], max_new_tokens=self.max_new_tokens, temperature=self.temperature,
            seed=seed, description=None,
        )  # fmt: skip
        if chats:
            self.messages.append({"role": "assistant", "content": completion.text})
        return completion.text
