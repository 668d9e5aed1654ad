"""The labelling desk in a terminal: one line an answer."""

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from textrl_env.data.text.display import message_text, printable
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk.desk import Desk, DeskQuestion
from textrl_env.reward_models.feedback.store import Judgement, rank_groups

HELP = {
    "pair": "1 or 2: that one is better   t: tie",
    "ranking": "best to worst, as 2 1 3 or with ties 2 1=3",
    "rating": f"1 (worst) to {Judgement.N_POINTS} (best)",
}
COMMON = "s: skip   u: undo   q: quit   +tag@2 tags, +reason gives one, # begins a comment"


def label_in_terminal(
    desk: Desk, annotator: str, console: Console, *, read: Callable[[str], str] | None = None
) -> None:
    """Asks until nothing is left, or the annotator quits (`q`, Ctrl-D); every answer is on the disk before the next.

    Args:
        desk: the desk.
        annotator: the name of the person who answers.
        console: where questions are printed.
        read: prompt -> a line; EOFError ends. By default Python's `input`.
    """
    read = read or input
    while True:
        desk.refresh()
        question = desk.question(annotator)
        if question is None:
            console.print("Nothing is left for you. Thank you.")
            return
        _show(question, desk, annotator, console)
        start = time.monotonic()
        while True:
            try:
                line = read("> ").strip()
            except EOFError:
                return
            if line == "q":
                return
            try:
                if line == "u":
                    event = desk.undo(annotator, secrets.token_hex(16))
                else:
                    event = desk.answer(annotator, _read_answer(question, line, time.monotonic() - start))
                desk.save(event)
                break
            except InputError as error:
                console.print(Text(f"{error}", style="red"))


def _show(question: DeskQuestion, desk: Desk, annotator: str, console: Console) -> None:
    progress = desk.progress(annotator)
    console.rule(f"{progress.n_own} by you, {progress.n_done} of {progress.n_due} in all", style="dim")
    prompt = question.item.prompt
    messages = [("prompt", prompt)] if isinstance(prompt, str) else [(m["role"], message_text(m)) for m in prompt]
    for role, text in messages:
        # Text, not markup: a completion with [red] in it is shown as it is.
        console.print(Text(printable(role), style="bold dim"))
        console.print(Text(printable(text.strip())))
    for number, text in enumerate(question.completions, start=1):
        console.print(Panel(Text(printable(text.strip()) or "(empty)"), title=str(number), title_align="left"))
    console.print(Text(f"{HELP[question.item.task]}   {COMMON}", style="dim"))


def _read_answer(question: DeskQuestion, line: str, seconds: float) -> dict[str, Any]:
    """Reads a line as the body that `Desk.answer` takes; InputError where it cannot be understood."""
    rest, _, comment = line.partition("#")
    answer = rest.partition("+")[0].strip()
    tags, reasons = _read_notes(rest, len(question.order))
    body = {
        "item": question.key.item,
        "round": question.key.round,
        "revision": question.revision,
        "seconds": min(seconds, 86_400.0),
        "submission": secrets.token_hex(16),
        "tags": tags,
        "reasons": reasons,
        "comment": comment.strip(),
    }
    if answer == "s":
        return body | {"kind": "skip"}
    return body | {"kind": "label"} | _read_verdict(question, answer, line)


def _read_notes(text: str, k: int) -> tuple[list[list[str]], list[str]]:
    """Reads `+tag@2` and `+reason`: the tags of each of k completions, and the reasons."""
    tags: list[list[str]] = [[] for _ in range(k)]
    reasons = []
    for name, place in re.findall(r"\+([a-z ]+?)(?:@(\d))?(?=\s*(?:\+|$))", text):
        if name in Judgement.REASONS:
            reasons.append(name)
        elif name in Judgement.TAGS and (not place or 1 <= int(place) <= k):
            tags[int(place or 1) - 1].append(name)
        else:
            names = ", ".join([*Judgement.TAGS, *Judgement.REASONS])
            raise InputError(f"+{name}{'@' * bool(place)}{place}: expected one of {names}, and a completion up to {k}")
    return tags, reasons


def _read_verdict(question: DeskQuestion, answer: str, line: str) -> dict[str, Any]:
    task = question.item.task
    if task == "rating" and re.fullmatch(r"\d", answer):
        return {"rating": int(answer)}
    if task == "pair" and answer in ("1", "2", "t"):
        return {"ranks": {"1": [1, 2], "2": [2, 1], "t": [1, 1]}[answer]}
    if task == "ranking" and re.fullmatch(r"\d(\s*=?\s*\d)*", answer):
        groups = _read_groups(answer)
        if sorted(index for group in groups for index in group) == list(range(len(question.order))):
            return {"ranks": list(rank_groups(groups))}
    raise InputError(f"{line!r:.60} is no answer here: {HELP[task]}")


def _read_groups(answer: str) -> list[list[int]]:
    """Reads a ranking: `2 1=3` -> [[1], [0, 2]]."""
    groups: list[list[int]] = []
    for tie, digit in re.findall(r"(=?)\s*(\d)", answer):
        if tie and groups:
            groups[-1].append(int(digit) - 1)
        else:
            groups.append([int(digit) - 1])
    return groups
