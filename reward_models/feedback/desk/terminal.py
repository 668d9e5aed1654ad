"""The desk without a browser: one line an answer."""

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from textrl_env.data.text import printable
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk.desk import Desk, Question
from textrl_env.reward_models.feedback.desk.judgements import N_POINTS, REASONS, TAGS, ranks_of

HELP = {
    "pair": "1 or 2: that one is better   t: tie",
    "ranking": "best to worst, as 2 1 3 or with ties 2 1=3",
    "rating": f"1 (worst) to {N_POINTS} (best)",
}
COMMON = "s: skip   u: undo   q: quit   +tag@2 tags, +reason gives one, # begins a comment"


def label_in_terminal(
    desk: Desk, annotator: str, console: Console, *, read: Callable[[str], str] | None = None
) -> None:
    """Asks until nothing is left, or the annotator quits (`q`, Ctrl-D); every answer is on the disk before the next.

    Args:
        desk: the desk.
        annotator: who answers.
        console: where it is shown.
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
        began = time.monotonic()
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
                    event = desk.answer(annotator, _posted(question, line, time.monotonic() - began))
                desk.save(event)
                break
            except InputError as error:
                console.print(Text(f"{error}", style="red"))


def _show(question: Question, desk: Desk, annotator: str, console: Console) -> None:
    progress = desk.progress(annotator)
    console.rule(f"{progress.own} by you, {progress.done} of {progress.wanted} in all", style="dim")
    prompt = question.item.prompt
    messages = [("prompt", prompt)] if isinstance(prompt, str) else [(m["role"], m["content"]) for m in prompt]
    for role, text in messages:
        # Text, not markup: a completion with [red] in it is shown as it is.
        console.print(Text(printable(role), style="bold dim"))
        console.print(Text(printable(text.strip())))
    for number, text in enumerate(question.completions, start=1):
        console.print(Panel(Text(printable(text.strip()) or "(empty)"), title=str(number), title_align="left"))
    console.print(Text(f"{HELP[question.item.task]}   {COMMON}", style="dim"))


def _posted(question: Question, line: str, seconds: float) -> dict[str, Any]:
    """What a line says, as `Desk.answer` takes it; InputError where it says nothing that can be understood."""
    rest, _, comment = line.partition("#")
    k, task = len(question.order), question.item.task
    tags: list[list[str]] = [[] for _ in range(k)]
    reasons = []
    for name, place in re.findall(r"\+([a-z ]+?)(?:@(\d))?(?=\s*(?:\+|$))", rest):
        if name in REASONS:
            reasons.append(name)
        elif name in TAGS and (not place or 1 <= int(place) <= k):
            tags[int(place or 1) - 1].append(name)
        else:
            known = ", ".join([*TAGS, *REASONS])
            raise InputError(f"+{name}{'@' * bool(place)}{place}: expected one of {known}, and a completion up to {k}")
    answer = rest.partition("+")[0].strip()
    posted: dict[str, Any] = {
        "item": question.key.item, "round": question.key.round, "revision": question.revision, "kind": "label",
        "seconds": min(seconds, 86_400.0), "submission": secrets.token_hex(16), "tags": tags, "reasons": reasons,
        "comment": comment.strip(),
    }  # fmt: skip
    if answer == "s":
        return posted | {"kind": "skip"}
    if task == "rating" and re.fullmatch(r"\d", answer):
        return posted | {"rating": int(answer)}
    if task == "pair" and answer in ("1", "2", "t"):
        return posted | {"ranks": {"1": [1, 2], "2": [2, 1], "t": [1, 1]}[answer]}
    if task == "ranking" and re.fullmatch(r"\d(\s*=?\s*\d)*", answer):
        groups = _groups(answer)
        if sorted(index for group in groups for index in group) == list(range(k)):
            return posted | {"ranks": list(ranks_of(groups))}
    raise InputError(f"{line!r:.60} is no answer here: {HELP[task]}")


def _groups(answer: str) -> list[list[int]]:
    """`2 1=3` -> [[1], [0, 2]]."""
    groups: list[list[int]] = []
    for tie, digit in re.findall(r"(=?)\s*(\d)", answer):
        if tie and groups:
            groups[-1].append(int(digit) - 1)
        else:
            groups.append([int(digit) - 1])
    return groups
