"""An OpenAI-compatible endpoint, `POST BASE_URL/chat/completions`, with the standard library."""

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from textrl_env.data.text import printable
from textrl_env.errors import InputError, require_above, require_at_least

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""What a later try may put right."""
MAX_BYTES = 4_000_000
MAX_WAIT = 60.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class EndpointConfig:
    """How an OpenAI-compatible endpoint is asked; nothing of it matters to other judges.

    A request is tried again after a time-out, a lost connection, 429, 5xx and an answer that is no JSON; waits double.
    """

    model: str = ""
    """The model's name there."""
    api_key_env: str | None = None
    """Variable with the key."""
    timeout: float = 60.0
    """Seconds of silence that fail a request."""
    retries: int = 5
    """Tries after time-outs, 429 and 5xx."""
    concurrency: int = 4
    """Requests under way at once."""

    def __post_init__(self) -> None:
        require_above(0, timeout=self.timeout)
        require_at_least(0, retries=self.retries)
        require_at_least(1, concurrency=self.concurrency)


@dataclass(frozen=True)
class Reply:
    """What an endpoint wrote.

    Attributes:
        text: of the first choice.
        tokens: for each of its tokens the likeliest ones, (text, log-probability); empty where it gives none.
    """

    text: str
    tokens: tuple[tuple[tuple[str, float], ...], ...] = ()


class Endpoint:
    """Asks one endpoint; may be used from several threads.

    The key is read from the environment, goes into the `Authorization` header only, and is struck out of what an error
    quotes. Redirects are not followed: they could take the key, and the texts, to another place.

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`; plain `http` carries no key beyond this machine.
        config: see there.
        sleep: waits some seconds between two tries.

    Raises:
        InputError: no http(s) address, no model's name, no such variable, a key that plain http would show.
    """

    def __init__(self, base_url: str, config: EndpointConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url, self.config = f"{base_url.rstrip('/')}/chat/completions", config
        self._sleep, self._gives_logprobs = sleep, True
        place = urlsplit(base_url)
        if place.scheme not in ("http", "https") or not place.hostname or place.username or place.query:
            raise InputError(f"expected an endpoint's address such as http://127.0.0.1:8000/v1, got {base_url!r:.100}")
        if not config.model:
            raise InputError("endpoint.model: which of the endpoint's models is to be asked? (--endpoint.model NAME)")
        self._key = ""
        if config.api_key_env is not None:
            self._key = os.environ.get(config.api_key_env, "").strip()
            if not self._key:
                raise InputError(
                    f"endpoint.api_key_env: the environment has no {config.api_key_env!r}; export it first"
                )
            if place.scheme == "http" and place.hostname not in LOOPBACK:
                raise InputError(f"endpoint.api_key_env: {base_url} would show the key to the network; use https")

    def chat(self, messages: Sequence[Mapping[str, str]], *, max_tokens: int, logprobs: bool = False) -> Reply:
        """The likeliest answer (temperature 0).

        Args:
            messages: the conversation.
            max_tokens: its greatest length.
            logprobs: asks for the likeliest tokens too; an endpoint that refuses is not asked for them again.

        Raises:
            InputError: the status and the beginning of the body, of the last try.
        """
        body: dict[str, Any] = {
            "model": self.config.model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0,
        }  # fmt: skip
        if logprobs and self._gives_logprobs:
            try:
                return self._tried(body | {"logprobs": True, "top_logprobs": 20})
            except _Refused as error:
                if "logprobs" not in str(error):
                    raise
                self._gives_logprobs = False
        return self._tried(body)

    def _tried(self, body: Mapping[str, Any]) -> Reply:
        for number in range(self.config.retries + 1):
            try:
                return _reply(self._posted(body))
            except _Passing as error:
                if number == self.config.retries:
                    tries = f"{number + 1} tries" if number else "1 try"
                    raise InputError(f"{self.url}: no answer after {tries}: {self._shown(error)}") from None
                self._sleep(min(error.wait or 2.0**number, MAX_WAIT))
        raise AssertionError

    def _posted(self, body: Mapping[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers, method="POST")
        try:
            with _OPENER.open(request, timeout=self.config.timeout) as response:
                content: bytes = response.read(MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                said = f"HTTP {error.code}: {_excerpt(error)}"
                wait = _seconds(error.headers.get("Retry-After"))
            if error.code in PASSING:
                raise _Passing(said, wait) from None
            raise _Refused(f"{self.url}: {self._shown(said)}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            late = isinstance(reason, TimeoutError)
            said = f"nothing came for {self.config.timeout:g} s" if late else f"{reason or type(error).__name__}"
            raise _Passing(said) from None
        if len(content) > MAX_BYTES:
            raise _Refused(f"{self.url}: the answer is longer than {MAX_BYTES} bytes")
        return content

    def _shown(self, said: object) -> str:
        """As it may be printed: no key, no control characters, one line."""
        text = str(said).replace(self._key, "***") if self._key else str(said)
        return printable(" ".join(text.split()))


class _Passing(Exception):
    """A fault that another try may put right; `wait` is what the endpoint asks for, in seconds."""

    def __init__(self, said: str, wait: float | None = None) -> None:
        super().__init__(said)
        self.wait = wait


class _Refused(InputError):
    """A fault that will be there the next time too."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _reply(content: bytes) -> Reply:
    try:
        choice = json.loads(content)["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError):
        said = content[:300].decode("utf-8", "replace")
        raise _Passing(f"expected JSON with choices[0].message.content, got {said!r}") from None
    return Reply(text, _tokens(choice))


def _tokens(choice: Mapping[str, Any]) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Empty where the log-probabilities are missing, or not what they should be."""
    try:
        positions = choice["logprobs"]["content"]
        tokens = tuple(
            tuple((str(each["token"]), float(each["logprob"])) for each in position["top_logprobs"])
            for position in positions
        )
    except (LookupError, TypeError, ValueError):
        return ()
    return tokens if all(not math.isnan(value) and value <= 1e-3 for row in tokens for _, value in row) else ()


def _excerpt(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(MAX_BYTES)[:500].decode("utf-8", "replace") or "(no body)"
    except (OSError, http.client.HTTPException):
        return "(the body broke off)"


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "nan")
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
