"""Requests to a language model: to compare two replies, to criticise one, to write it anew; and the model that revises.

The texts are put together and never formatted: braces in a prompt or a reply are nothing but braces. Each text stands
in a fence of backquotes that is longer than any within it, so that no reply can end its own fence and pass for an
instruction, a reply B or a verdict; what it says to the judge inside the fence, no fence can help against.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from textrl_env.data.text import Prompt
from textrl_env.data.text.display import message_text
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judges.questions import Draft, JudgeQuestion, Revision

LETTERS = ("A", "B")


class ModelRequest(NamedTuple):
    """A text that says what to write, and for models without a chat template the words that the answer follows."""

    text: str
    lead: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The request as a conversation."""
        return [{"role": "user", "content": self.text}]

    @property
    def plain(self) -> str:
        """The request as a text to be continued."""
        return f"{self.text}\n\n{self.lead}"

    def prompt(self, tokenizer: Any) -> Prompt:
        """Returns the request as a model with this tokenizer takes it, control tokens in its texts taken apart."""
        request = escape_control_tokens(self, tokenizer)
        return request.messages if getattr(tokenizer, "chat_template", None) else request.plain


Writer = Callable[[Sequence[ModelRequest]], list[str]]
"""Writes an answer to each request: a local model, or an endpoint."""


@dataclass(frozen=True)
class LanguageModelReviser:
    """Has a language model write first the critiques, then the replies; a `Reviser`."""

    write: Writer
    name: str
    identity: str
    batch_size: int
    workers: int = 1

    @classmethod
    def from_sampler(
        cls, sample: Callable[[list[Prompt]], list[str]], tokenizer: Any, folder: Path, *, batch_size: int
    ) -> "LanguageModelReviser":
        """Makes a reviser of a local model; its name is the folder's, its identity follows from the weights too.

        Args:
            sample: from prompts to the model's completions, one each.
            tokenizer: the model's own. Without a chat template only the first paragraph of a completion is the answer.
            folder: where the model is.
            batch_size: drafts at once.
        """

        def write(requests: Sequence[ModelRequest]) -> list[str]:
            texts = sample([request.prompt(tokenizer) for request in requests])
            return texts if tokenizer.chat_template else [text.strip().partition("\n\n")[0] for text in texts]

        return cls(write, *compute_model_identity(folder), batch_size)

    def revise(self, drafts: Sequence[Draft]) -> list[Revision]:
        """Keeps the white space that a draft begins with; an empty answer leaves the draft as it is."""
        critiques = self.write([request_critique(draft) for draft in drafts])
        texts = self.write(
            [request_revision(draft, critique) for draft, critique in zip(drafts, critiques, strict=True)]
        )
        return [
            Revision(critique.strip(), _strip_fence(draft.completion, text) if text.strip() else draft.completion)
            for draft, critique, text in zip(drafts, critiques, texts, strict=True)
        ]


def compute_model_identity(folder: Path) -> tuple[str, str]:
    """Returns a model's name, its folder's, and its identity, which follows from its weights too."""
    name, digests = folder.resolve().name, []
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest()[:12])
    return name, "-".join([name, *digests])


def request_comparison(question: JudgeQuestion) -> ModelRequest:
    """Returns a request that is answered by the letter of the better reply (Bai et al. 2022, section 4.1)."""
    replies = "\n\n".join(
        f"Reply {letter}:\n{_fence(text)}"
        for letter, text in zip(LETTERS, (question.first, question.second), strict=True)
    )
    return ModelRequest(
        f"{_introduce(question.principle, question.prompt)}\n\n{replies}\n\n"
        "Which reply follows the principle better? Answer with one letter, A or B.",
        "Answer:",
    )


def request_critique(draft: Draft) -> ModelRequest:
    """Returns a request that is answered by what is wrong with the reply (Bai et al. 2022, section 3.1)."""
    return ModelRequest(
        f"{_introduce(draft.principle, draft.prompt)}\n\nThe reply:\n{_fence(draft.completion)}\n\n"
        "In one or two sentences, say what in the reply goes against the principle.",
        "Critique:",
    )


def request_revision(draft: Draft, critique: str) -> ModelRequest:
    """Returns a request that is answered by a better reply."""
    return ModelRequest(
        f"{_introduce(draft.principle, draft.prompt)}\n\nThe reply:\n{_fence(draft.completion)}\n\n"
        f"What is wrong with it:\n{_fence(critique)}\n\n"
        "Write the reply anew so that it follows the principle. Write the new reply only.",
        "New reply:",
    )


def escape_control_tokens(request: ModelRequest, tokenizer: Any) -> ModelRequest:
    """Puts a space inside whatever the tokenizer would read as one of its control tokens.

    Else a reply that holds `<|im_end|>` would end the user's message and go on as the model's own.
    """
    text = request.text
    for token in sorted(getattr(tokenizer, "get_added_vocab", dict)(), key=len, reverse=True):
        if len(token) > 2:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return ModelRequest(text, request.lead)


def flatten_prompt(prompt: Prompt) -> str:
    """Returns a prompt in one text; of a conversation, each message after its role."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message_text(message)}" for message in prompt)


def parse_letter(answer: str) -> int | None:
    """Returns 0 for A, 1 for B, where a written answer begins with one of them; else None."""
    match = re.match(r"\W*(?:(?:[Tt]he )?(?:[Bb]etter )?(?:[Aa]nswer|[Rr]eply)(?: is)?\W+)?([AB])\b", answer)
    # "A good reply would …" begins with an article.
    if match is None or re.match(r" (?!is\b|because\b|follows\b)\w", answer[match.end() :]):
        return None
    return LETTERS.index(match[1])


def _introduce(principle: Principle, prompt: Prompt) -> str:
    return (
        f"A principle for replies:\n{_fence(principle.text)}\n\nWhat is replied to:\n{_fence(flatten_prompt(prompt))}"
    )


def _fence(text: str) -> str:
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.strip()}\n{fence}"


def _strip_fence(draft: str, text: str) -> str:
    """Returns the text with the draft's white space in front, and without a fence that the model put round it."""
    match = re.fullmatch(r"\s*(`{3,})\n(.*)\n\1\s*", text, re.DOTALL)
    return draft[: len(draft) - len(draft.lstrip())] + (match[2] if match else text).strip()
