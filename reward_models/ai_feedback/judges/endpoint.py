"""An OpenAI-compatible endpoint, `POST BASE_URL/chat/completions`: httpx2 asks, tenacity tries again."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from textrl_env.data.text.display import printable
from textrl_env.errors import InputError, require_above, require_count

if TYPE_CHECKING:
    from httpx2 import Response
    from tenacity import RetryCallState

TRANSIENT_STATUSES = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers that a later try may put right."""
MAX_BYTES = 4_000_000
MAX_WAIT = 60.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class EndpointConfig:
    """Options of an OpenAI-compatible endpoint; they do not matter to other judges.

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
        require_count(0, retries=self.retries)
        require_count(1, concurrency=self.concurrency)


@dataclass(frozen=True)
class EndpointReply:
    """The answer of an endpoint.

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
        config: model, key and patience.
        sleep: waits some seconds between two tries.

    Raises:
        InputError: no http(s) address, no model's name, no such variable, a key that plain http would show or that no
            header can hold, or the extra `judge` is not installed.
    """

    def __init__(self, base_url: str, config: EndpointConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname or address.username or address.query:
            raise InputError(f"expected an endpoint's address such as http://127.0.0.1:8000/v1, got {base_url!r:.100}")
        if not config.model:
            raise InputError("endpoint.model: which of the endpoint's models is to be asked? (--endpoint.model NAME)")
        self.url, self.config = f"{base_url.rstrip('/')}/chat/completions", config
        self._key = _read_key(config.api_key_env)
        if self._key and address.scheme == "http" and address.hostname not in LOOPBACK:
            raise InputError(f"endpoint.api_key_env: {base_url} would show the key to the network; use https")
        try:
            from httpx2 import Client
            from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
        except ImportError as error:
            raise InputError(
                f"an endpoint as the judge needs {error.name}; install it with: pip install 'textrl-env[judge]'"
            ) from None
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = Client(headers=headers, timeout=config.timeout, follow_redirects=False)
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(config.retries + 1),
            wait=_compute_wait,
            sleep=sleep,
            reraise=True,
        )
        self._gives_logprobs = True

    def chat(self, messages: Sequence[Mapping[str, str]], *, max_tokens: int, logprobs: bool = False) -> EndpointReply:
        """Returns the likeliest answer (temperature 0).

        Args:
            messages: the conversation.
            max_tokens: its greatest length.
            logprobs: asks for the likeliest tokens too; an endpoint that refuses is not asked for them again.

        Raises:
            InputError: the status and the beginning of the body, of the last try.
        """
        body = {
            "model": self.config.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        if logprobs and self._gives_logprobs:
            try:
                return self._ask(body | {"logprobs": True, "top_logprobs": 20})
            except _RefusalError as error:
                if "logprobs" not in str(error):
                    raise
                self._gives_logprobs = False
        return self._ask(body)

    def _ask(self, body: Mapping[str, Any]) -> EndpointReply:
        try:
            return self._retrying(lambda: _parse_reply(self._post(body)))
        except _TransientError as error:
            tries = f"{self.config.retries + 1} tries" if self.config.retries else "1 try"
            raise InputError(f"{self.url}: no answer after {tries}: {self._redact(str(error))}") from None

    def _post(self, body: Mapping[str, Any]) -> bytes:
        from httpx2 import TimeoutException, TransportError

        try:
            with self._client.stream("POST", self.url, content=json.dumps(body)) as response:
                content = _read_body(response)
        except TimeoutException:
            raise _TransientError(f"nothing came for {self.config.timeout:g} s") from None
        except TransportError as error:
            raise _TransientError(str(error) or type(error).__name__) from None
        if not response.is_success:
            message = f"HTTP {response.status_code}: {content[:500].decode('utf-8', 'replace') or '(no body)'}"
            if response.status_code in TRANSIENT_STATUSES:
                raise _TransientError(message, _parse_seconds(response.headers.get("Retry-After")))
            raise _RefusalError(f"{self.url}: {self._redact(message)}")
        if len(content) > MAX_BYTES:
            raise _RefusalError(f"{self.url}: the answer is longer than {MAX_BYTES} bytes")
        return content

    def _redact(self, message: str) -> str:
        """Returns the message as it may be printed: no key, no control characters, one line."""
        text = message.replace(self._key, "***") if self._key else message
        return printable(" ".join(text.split()))


class _TransientError(Exception):
    """A fault that another try may put right; `wait` is what the endpoint asks for, in seconds."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class _RefusalError(InputError):
    """A fault that will be there the next time too."""


def _read_key(variable: str | None) -> str:
    """Returns the key in an environment variable; empty where no variable is named."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"endpoint.api_key_env: the environment has no {variable!r}; export it first")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"endpoint.api_key_env: the key in {variable!r} holds characters that no header can hold")
    return key


def _compute_wait(state: "RetryCallState") -> float:
    """Returns the seconds before the next try: what the endpoint asks for, else 1, 2, 4, …; a minute at most."""
    error = state.outcome.exception() if state.outcome else None
    return min(getattr(error, "wait", None) or 2.0 ** (state.attempt_number - 1), MAX_WAIT)


def _read_body(response: "Response") -> bytes:
    """Returns the body up to a little more than MAX_BYTES; what a broken connection has brought of an error's."""
    from httpx2 import TransportError

    content = bytearray()
    try:
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                break
    except TransportError:
        if response.is_success:
            raise
        return bytes(content) or b"(the body broke off)"
    return bytes(content)


def _parse_reply(content: bytes) -> EndpointReply:
    try:
        choice = json.loads(content)["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError):
        excerpt = content[:300].decode("utf-8", "replace")
        raise _TransientError(f"expected JSON with choices[0].message.content, got {excerpt!r}") from None
    return EndpointReply(text, _parse_tokens(choice))


def _parse_tokens(choice: Mapping[str, Any]) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Returns the likeliest tokens; none where log-probabilities are missing, or not what they should be."""
    try:
        tokens = tuple(
            tuple((str(token["token"]), float(token["logprob"])) for token in position["top_logprobs"])
            for position in choice["logprobs"]["content"]
        )
    except (LookupError, TypeError, ValueError):
        return ()
    return tokens if all(not math.isnan(value) and value <= 1e-3 for row in tokens for _, value in row) else ()


def _parse_seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "nan")
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
