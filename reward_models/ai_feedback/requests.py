"""What a language model is asked: to compare two replies, to criticise one, to write it anew.

The texts are put together and never formatted: braces in a prompt or a reply are nothing but braces. Each text stands
in a fence of backquotes that is longer than any within it, so that no reply can end its own fence and pass for an
instruction, a reply B or a verdict; what it says to the judge inside the fence, no fence can help against.
"""

import re
from typing import Any, NamedTuple

from textrl_env.data.text import Prompt
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judge import Question

LETTERS = ("A", "B")


class Request(NamedTuple):
    """What to write, and for models without a chat template the words that the answer follows."""

    text: str
    lead: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """As a conversation."""
        return [{"role": "user", "content": self.text}]

    @property
    def plain(self) -> str:
        """As a text to be continued."""
        return f"{self.text}\n\n{self.lead}"


def comparison(question: Question) -> Request:
    """Answered by the letter of the better reply (Bai et al. 2022, section 4.1)."""
    replies = "\n\n".join(
        f"Reply {letter}:\n{_fenced(text)}"
        for letter, text in zip(LETTERS, (question.first, question.second), strict=True)
    )
    return Request(
        f"{_principle(question.principle)}\n\n{_prompt(question.prompt)}\n\n{replies}\n\n"
        "Which reply follows the principle better? Answer with one letter, A or B.",
        "Answer:",
    )


def critique(prompt: Prompt, completion: str, principle: Principle) -> Request:
    """Answered by what is wrong with the reply (Bai et al. 2022, section 3.1)."""
    return Request(
        f"{_principle(principle)}\n\n{_prompt(prompt)}\n\nThe reply:\n{_fenced(completion)}\n\n"
        "In one or two sentences, say what in the reply goes against the principle.",
        "Critique:",
    )


def revision(prompt: Prompt, completion: str, principle: Principle, critique: str) -> Request:
    """Answered by a better reply."""
    return Request(
        f"{_principle(principle)}\n\n{_prompt(prompt)}\n\nThe reply:\n{_fenced(completion)}\n\n"
        f"What is wrong with it:\n{_fenced(critique)}\n\n"
        "Write the reply anew so that it follows the principle. Write the new reply only.",
        "New reply:",
    )


def without_control_tokens(request: Request, tokenizer: Any) -> Request:
    """The request with a space inside whatever the tokenizer would read as one of its control tokens.

    Else a reply that holds `<|im_end|>` would end the user's message and go on as the model's own.
    """
    text = request.text
    for token in sorted(getattr(tokenizer, "get_added_vocab", dict)(), key=len, reverse=True):
        if len(token) > 2:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return Request(text, request.lead)


def as_text(prompt: Prompt) -> str:
    """A prompt in one text; of a conversation, each message after its role."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def letter_in(answer: str) -> int | None:
    """0 for A, 1 for B, where a written answer begins with one of them; else None."""
    found = re.match(r"\W*(?:(?:[Tt]he )?(?:[Bb]etter )?(?:[Aa]nswer|[Rr]eply)(?: is)?\W+)?([AB])\b", answer)
    # "A good reply would …" begins with an article.
    if found is None or re.match(r" (?!is\b|because\b|follows\b)\w", answer[found.end() :]):
        return None
    return LETTERS.index(found[1])


def _principle(principle: Principle) -> str:
    return f"A principle for replies:\n{_fenced(principle.text)}"


def _prompt(prompt: Prompt) -> str:
    return f"What is replied to:\n{_fenced(as_text(prompt))}"


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.strip()}\n{fence}"
