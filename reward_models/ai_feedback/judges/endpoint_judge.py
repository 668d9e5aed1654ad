"""A model behind an OpenAI-compatible endpoint as the judge."""

import math
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from textrl_env.errors import require_count
from textrl_env.reward_models.ai_feedback.judges.endpoint import Endpoint, EndpointReply
from textrl_env.reward_models.ai_feedback.judges.questions import FloatArray, JudgeQuestion
from textrl_env.reward_models.ai_feedback.judges.requests import (
    LETTERS,
    LanguageModelReviser,
    ModelRequest,
    parse_letter,
    request_comparison,
)

MAX_TOKENS = 8
"""Room for "The better reply is A"."""
DECORATION = " ()*\"'`.:\n"
"""Characters that may stand round a letter in one token."""


class EndpointJudge:
    """Judges by the log-probabilities of the letters where the endpoint gives them, else P(A) = 1 for a written A.

    One question a request, `concurrency` requests at once.
    """

    batch_size = 1

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.config.model
        self.identity = f"{self.name}@{urlsplit(endpoint.url).netloc}"
        self.workers = endpoint.config.concurrency

    def check(self, questions: Sequence[JudgeQuestion]) -> None:
        """Lets any question pass; what is too long for the model there is the endpoint's to say."""

    def prefers_first(self, questions: Sequence[JudgeQuestion]) -> FloatArray:
        """Returns how likely the first reply is better; see `Judge`. InputError where the endpoint does not answer."""
        replies = (
            self.endpoint.chat(request_comparison(question).messages, max_tokens=MAX_TOKENS, logprobs=True)
            for question in questions
        )
        return np.array([compute_first_probability(reply) for reply in replies], dtype=np.float64)

    def make_reviser(self, max_tokens: int) -> LanguageModelReviser:
        """Returns the same model as a reviser that writes at most `max_tokens` tokens an answer."""
        require_count(1, max_tokens=max_tokens)

        def write(requests: Sequence[ModelRequest]) -> list[str]:
            return [self.endpoint.chat(request.messages, max_tokens=max_tokens).text for request in requests]

        return LanguageModelReviser(write, self.name, self.identity, self.batch_size, self.workers)


def compute_first_probability(reply: EndpointReply) -> float:
    """Returns P(A) / (P(A) + P(B)) at the token that is a letter; NaN where the reply names none.

    A letter that is not among the likeliest tokens gets what the listed ones leave, at most the least of them.
    """
    for tokens in reply.tokens:
        sums = [0.0, 0.0]
        for text, logprob in tokens:
            if (letter := text.strip(DECORATION)) in LETTERS:
                sums[LETTERS.index(letter)] += math.exp(logprob)
        likeliest = max(tokens, key=lambda token: token[1], default=("", 0.0))[0]
        if likeliest.strip(DECORATION) in LETTERS:
            probabilities = [math.exp(logprob) for _, logprob in tokens]
            rest = max(0.0, min(1 - sum(probabilities), *probabilities))
            first, second = (value or rest for value in sums)
            return first / (first + second)
    letter_index = parse_letter(reply.text)
    return float("nan") if letter_index is None else 1.0 - letter_index
