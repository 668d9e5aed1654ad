"""Questions, judges whose habits are known, and an endpoint on this machine that does what a test tells it."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judges import JudgeQuestion

SHORT = Principle("short", "A good reply is short.")


@dataclass
class PlantedJudge:
    """Prefers the shorter reply, by `skill` nats a character, and the one shown first, by `bias` nats."""

    skill: float = 1.0
    bias: float = 0.0
    name: str = "planted"
    batch_size: int = 4
    workers: int = 1
    fails_at: int | None = None
    asked: list[JudgeQuestion] = field(default_factory=list)

    @property
    def identity(self) -> str:
        return f"{self.name}-{self.skill}-{self.bias}"

    def check(self, questions: Sequence[JudgeQuestion]) -> None:
        """Anything goes."""

    def prefers_first(self, questions: Sequence[JudgeQuestion]) -> Any:
        self.asked += questions
        if self.fails_at is not None and len(self.asked) > self.fails_at:
            raise RuntimeError("the judge broke down")
        longer = np.array([len(question.second) - len(question.first) for question in questions])
        return 1 / (1 + np.exp(-(self.skill * longer + self.bias)))


def questions(n: int, *, seed: int = 0) -> list[JudgeQuestion]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, size=(n, 2))
    return [JudgeQuestion(f"p{number}", "a" * a, "b" * b, SHORT) for number, (a, b) in enumerate(lengths.tolist())]


@pytest.fixture
def make_judge() -> Callable[..., PlantedJudge]:
    return PlantedJudge


@pytest.fixture
def make_questions() -> Callable[..., list[JudgeQuestion]]:
    """n questions, each about a prompt of its own, on replies of 1 to 11 letters."""
    return questions


Answer = Callable[["ChatServer", dict[str, Any]], Any]


@dataclass
class ChatServer:
    """An OpenAI-compatible server: where it listens, what it was asked, its answers in turn, the last one for ever."""

    answers: list[Answer]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: Any = field(default_factory=threading.Lock)


@contextmanager
def serving(*answers: Answer) -> Iterator[ChatServer]:
    """Serves on a free port of 127.0.0.1 until the end of the block."""
    server = ChatServer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                answer = server.answers[min(len(server.bodies), len(server.answers) - 1)]
                server.bodies.append(body | {"path": self.path})
                server.headers.append(dict(self.headers))
                server.at_once += 1
                server.most_at_once = max(server.at_once, server.most_at_once)
            answered = answer(server, body)
            with server.lock:
                server.at_once -= 1
            code, content, headers = answered if isinstance(answered, tuple) else (200, json.dumps(answered), {})
            try:
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content.encode())
            except OSError:
                pass  # The client has gone.

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture
def chat_server() -> Callable[..., AbstractContextManager[ChatServer]]:
    """Answers, functions of the server and the request's body -> a context manager with the server that gives them."""
    return serving
