"""A model behind an OpenAI-compatible endpoint as the judge."""

import math
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from textrl_env.reward_models.ai_feedback.endpoint import Endpoint, Reply
from textrl_env.reward_models.ai_feedback.judge import FloatArray, Question
from textrl_env.reward_models.ai_feedback.requests import LETTERS, comparison, letter_in

MAX_TOKENS = 8
"""Room for "The better reply is A"."""


class EndpointJudge:
    """P(A) from the log-probabilities of the letters where the endpoint gives them, else 1 for the letter it writes.

    One question a request, `concurrency` requests at once.
    """

    batch_size = 1

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.config.model
        self.identity = f"{self.name}@{urlsplit(endpoint.url).netloc}"
        self.workers = endpoint.config.concurrency

    def check(self, questions: Sequence[Question]) -> None:
        """Any question can be asked; what is too long for the model there is the endpoint's to say."""

    def prefers_first(self, questions: Sequence[Question]) -> FloatArray:
        """See `Judge`. InputError where the endpoint does not answer."""
        replies = (
            self.endpoint.chat(comparison(question).messages, max_tokens=MAX_TOKENS, logprobs=True)
            for question in questions
        )
        return np.array([first_probability(reply) for reply in replies], dtype=np.float64)


def first_probability(reply: Reply) -> float:
    """P(A) / (P(A) + P(B)) at the token that is a letter; NaN where the reply names none.

    A letter that is not among the likeliest tokens gets what the listed ones leave, at most the least of them.
    """
    for tokens in reply.tokens:
        found = [0.0, 0.0]
        for text, logprob in tokens:
            if (letter := text.strip(" ()*\"'`.:\n")) in LETTERS:
                found[LETTERS.index(letter)] += math.exp(logprob)
        written = max(tokens, key=lambda token: token[1], default=("", 0.0))[0]
        if written.strip(" ()*\"'`.:\n") in LETTERS:
            listed = [math.exp(logprob) for _, logprob in tokens]
            rest = max(0.0, min(1 - sum(listed), *listed))
            first, second = (value or rest for value in found)
            return first / (first + second)
    letter_index = letter_in(reply.text)
    return float("nan") if letter_index is None else 1.0 - letter_index
