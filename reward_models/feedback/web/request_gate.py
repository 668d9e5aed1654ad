"""The gate before the desk's routes: checks hosts, origins and sizes of requests, and adds headers to responses."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 32_768
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class Gate:
    """Refuses requests for another host, which is how DNS rebinding arrives, and writes from another origin.

    Args:
        app: the application behind it.
        hosts: names and addresses, without a port, under which the desk may be asked for.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refused request at once, and hands any other to the application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_RAW_HEADERS]
            await send(message)

        if refusal := self._refusal(scope["method"], Headers(scope=scope)):
            status, text = refusal
            await PlainTextResponse(text, status)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if _hostname(f"//{host}") not in self.hosts:
            return 400, f"unknown host {host!r:.100}; the desk answers to {', '.join(sorted(self.hosts))}"
        if method in ("GET", "HEAD"):
            return None
        # Behind a proxy that adds TLS the scheme differs; host and port are what tells sites apart.
        origin = headers.get("origin", "")
        if split_url(origin) is None or origin.lower().partition("://")[2] != host:
            return 403, f"writing is for the desk's own pages; origin {origin!r:.100} is not {host!r:.100}"
        return None


def split_url(url: str) -> Any:
    """Splits an http(s) address; None where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") else None


def _hostname(authority: str) -> str | None:
    try:
        return urlsplit(authority).hostname
    except ValueError:
        return None


async def read_body(request: Request) -> dict[str, Any]:
    """Reads the JSON object that a request carries; HTTPException 413, 415 or 400 says what is wrong with it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"expected Content-Type application/json, got {kind!r:.60}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"at most {MAX_BODY} bytes")
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise HTTPException(400, f"expected a JSON object, got {type(value).__name__}")
    return value
