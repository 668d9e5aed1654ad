"""An OpenAI-compatible endpoint, good, slow, broken and hostile: a local server that the tests start."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judges import Endpoint, EndpointConfig, EndpointJudge, JudgeQuestion
from textrl_env.reward_models.ai_feedback.judges.endpoint import EndpointReply
from textrl_env.reward_models.ai_feedback.judges.endpoint_judge import compute_first_probability
from textrl_env.reward_models.ai_feedback.labels import judge_all, judge_both_orders, label_rows

KEY = "sk-secret-0123456789"
QUESTION = JudgeQuestion("p", "good", "bad {principle}", Principle("kind", "Be kind."))
MESSAGES = [{"role": "user", "content": "hi"}]
Answer = Callable[[Any, dict[str, Any]], Any]


def written(text: str, *, tokens: list[list[tuple[str, float]]] | None = None) -> Answer:
    """A completion, with the likeliest tokens at each place if given."""
    content = tokens and [{"top_logprobs": [{"token": t, "logprob": p} for t, p in place]} for place in tokens]
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    return lambda server, body: {"choices": [choice | ({"logprobs": {"content": content}} if content else {})]}


def status(code: int, body: str = "", **headers: str) -> Answer:
    return lambda server, asked: (code, body, headers)


def late(seconds: float) -> Answer:
    return lambda server, asked: time.sleep(seconds) or (200, "{}", {})


def endpoint(server: Any, waits: list[float] | None = None, **options: Any) -> Endpoint:
    config = EndpointConfig(**{"model": "tiny", "timeout": 5.0, "retries": 3} | options)
    return Endpoint(server.url, config, sleep=([] if waits is None else waits).append)


def test_what_is_sent_and_what_comes_back(chat_server: Any) -> None:
    with chat_server(written("hello")) as server:
        assert endpoint(server).chat(MESSAGES, max_tokens=7) == EndpointReply("hello")
    assert server.bodies == [
        {"model": "tiny", "messages": MESSAGES, "max_tokens": 7, "temperature": 0, "path": "/v1/chat/completions"}
    ]
    assert "Authorization" not in server.headers[0]


def test_the_key_comes_from_the_environment_and_is_in_no_message(
    monkeypatch: pytest.MonkeyPatch, chat_server: Any
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    refusal = status(401, f'{{"error": "Incorrect API key provided: {KEY}.\u001b[31m"}}')
    with chat_server(written("x"), refusal) as server:
        asked = endpoint(server, api_key_env="MY_KEY")
        asked.chat(MESSAGES, max_tokens=1)
        with pytest.raises(InputError) as error:
            asked.chat(MESSAGES, max_tokens=1)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}" and len(server.bodies) == 2
    assert "HTTP 401" in str(error.value) and "Incorrect API key provided: ***" in str(error.value)
    assert KEY not in str(error.value) + repr(asked.config) and "\x1b" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "options", "fault"),
    [
        ("http://127.0.0.1:1/v1", {"model": ""}, "endpoint.model: which of the endpoint's models"),
        ("ftp://127.0.0.1/v1", {}, "expected an endpoint's address such as"),
        ("http:///v1", {}, "expected an endpoint's address such as"),
        ("http://user:pw@127.0.0.1/v1", {}, "expected an endpoint's address such as"),
        ("http://127.0.0.1/v1", {"api_key_env": "NO_SUCH_KEY"}, "the environment has no 'NO_SUCH_KEY'"),
        ("http://example.org/v1", {"api_key_env": "MY_KEY"}, "would show the key to the network; use https"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_asked(
    url: str, options: dict[str, Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(InputError, match=fault):
        Endpoint(url, EndpointConfig(**{"model": "tiny"} | options))


@pytest.mark.parametrize("name", ["httpx2", "tenacity"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"needs {name}; install it with: pip install 'textrl-env\[judge\]'"):
        Endpoint("http://127.0.0.1:1/v1", EndpointConfig(model="tiny"))


def test_a_key_that_no_header_can_hold_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\nx")
    with pytest.raises(InputError, match="holds characters that no header can hold") as error:
        Endpoint("http://127.0.0.1:1/v1", EndpointConfig(model="tiny", api_key_env="MY_KEY"))
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("timeout", 0), ("timeout", math.nan), ("retries", -1), ("concurrency", 0)]
)
def test_impossible_options_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{name} must be"):
        EndpointConfig(**{name: value})  # type: ignore[arg-type]


BROKEN = {
    "429": status(429, "slow down"),
    "500": status(500, "oops"),
    "503": status(503),
    "half JSON": status(200, '{"choices": [{"message"'),
    "no choices": status(200, '{"choices": []}'),
    "no text": status(200, '{"choices": [{"message": {"content": null}}]}'),
    "late": late(0.5),
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_a_fault_that_passes_is_waited_out(kind: str, chat_server: Any) -> None:
    waits: list[float] = []
    timeout = 0.15 if kind == "late" else 5.0
    with chat_server(BROKEN[kind], BROKEN[kind], written("there")) as server:
        assert endpoint(server, waits, timeout=timeout).chat(MESSAGES, max_tokens=1).text == "there"
    assert waits == [1.0, 2.0] and len(server.bodies) == 3


def test_the_endpoints_own_waiting_time_is_kept_up_to_a_minute(chat_server: Any) -> None:
    waits: list[float] = []
    slow = (status(429, Retry_After="7"), status(503, Retry_After="86400"), status(429, Retry_After="soon"))
    with chat_server(*slow, written("there")) as server:
        endpoint(server, waits).chat(MESSAGES, max_tokens=1)
    assert waits == [7.0, 60.0, 4.0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("429", "no answer after 4 tries: HTTP 429: slow down"),
        ("503", "no answer after 4 tries: HTTP 503: (no body)"),
        ("half JSON", 'expected JSON with choices[0].message.content, got \'{"choices": [{"message"\''),
        ("late", "no answer after 4 tries: nothing came for 0.05 s"),
    ],
)
def test_a_fault_that_stays_ends_with_the_status_and_the_body(kind: str, said: str, chat_server: Any) -> None:
    with chat_server(BROKEN[kind]) as server:
        with pytest.raises(InputError) as error:
            endpoint(server, timeout=0.05 if kind == "late" else 5.0).chat(MESSAGES, max_tokens=1)
        assert str(error.value).startswith(f"{server.url}/chat/completions: ") and said in str(error.value)
        assert len(server.bodies) == 4 and "\n" not in str(error.value)


def test_nobody_listening_is_said(chat_server: Any) -> None:
    with chat_server(written("x")) as server:
        gone = endpoint(server, retries=0)
    with pytest.raises(InputError, match=r"no answer after 1 try: .*refused"):
        gone.chat(MESSAGES, max_tokens=1)


@pytest.mark.parametrize("code", [400, 403, 404, 422])
def test_a_refusal_is_not_tried_again(code: int, chat_server: Any) -> None:
    with chat_server(status(code, "x" * 5000)) as server, pytest.raises(InputError, match=f"HTTP {code}: x+$") as error:
        endpoint(server).chat(MESSAGES, max_tokens=1)
    assert len(server.bodies) == 1 and len(str(error.value)) < 600


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch, chat_server: Any) -> None:
    """It could take the key to another place."""
    monkeypatch.setenv("MY_KEY", KEY)
    with chat_server(written("stolen")) as thief, chat_server(status(302, Location=thief.url)) as server:
        asked = endpoint(server, api_key_env="MY_KEY")
        with pytest.raises(InputError, match="HTTP 302"):
            asked.chat(MESSAGES, max_tokens=1)
        assert not thief.bodies and len(server.bodies) == 1


def test_an_endless_answer_is_cut_off(chat_server: Any) -> None:
    with chat_server(status(200, "x" * 4_000_001)) as server, pytest.raises(InputError, match="longer than 4000000"):
        endpoint(server).chat(MESSAGES, max_tokens=1)


def prefers_good(server: Any, body: dict[str, Any]) -> Any:
    """Reads where "good" stands and says so, with log-probabilities that lean towards A by 1 nat."""
    text = body["messages"][0]["content"]
    first = text.index("\ngood") < text.index("\nbad")
    lean = 2.0 if first else 0.0
    tokens = [[("A", lean - 5), ("B", 1 - 5), (" A", -20.0), ("The", -30.0)]]
    return written("A" if lean > 1 else "B", tokens=tokens)(server, body)


def test_log_probabilities_of_both_orders_make_the_label(chat_server: Any) -> None:
    with chat_server(prefers_good) as server:
        judge = EndpointJudge(endpoint(server))
        (each,) = judge_both_orders(judge, [QUESTION])
    asked = server.bodies[0]
    assert (asked["logprobs"], asked["top_logprobs"], asked["max_tokens"]) == (True, 20, 8)
    assert each.forward == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    assert each.backward == pytest.approx(1 / (1 + math.exp(1)), abs=1e-6)
    assert judge.name == "tiny" and judge.identity == f"tiny@{server.url[7:-3]}"


def test_an_endpoint_that_refuses_log_probabilities_is_asked_for_the_letter(chat_server: Any) -> None:
    def picky(server: Any, body: dict[str, Any]) -> Any:
        if "logprobs" in body:
            return 400, "logprobs are not supported", {}
        return written(" (A) because")(server, body)

    with chat_server(picky) as server:
        judge = EndpointJudge(endpoint(server))
        assert judge.prefers_first([QUESTION] * 3).tolist() == [1.0, 1.0, 1.0]
    assert ["logprobs" in body for body in server.bodies] == [True, False, False, False]


@pytest.mark.parametrize(
    ("answer", "probability"),
    [
        (written("B"), 0.0),
        (written("Neither."), math.nan),
        (written(""), math.nan),
        (written("B", tokens=[[("B", math.log(0.7))]]), 0.3),
        (written("A", tokens=[[("A", math.log(0.9)), ("C", math.log(0.06))]]), 0.9 / 0.94),
        (written("**A**", tokens=[[("**", -0.1)], [("A", math.log(0.6)), ("B", math.log(0.2))]]), 0.75),
        (written("B", tokens=[[("A", math.nan)]]), 0.0),
        (written("B", tokens=[[("A", 3.0), ("B", 5.0)]]), 0.0),
        (written("A good one", tokens=[[("It", -0.1), ("A", -3.0)]]), math.nan),
    ],
)
def test_what_a_reply_says(answer: Any, probability: float, chat_server: Any) -> None:
    with chat_server(answer) as server:
        reply = endpoint(server).chat(MESSAGES, max_tokens=1, logprobs=True)
    assert compute_first_probability(reply) == pytest.approx(probability, nan_ok=True)


def test_a_long_run_is_asked_side_by_side_loses_nothing_and_goes_on(
    tmp_path: Path, make_questions: Callable[..., list[JudgeQuestion]], chat_server: Any
) -> None:
    questions = [JudgeQuestion(q.prompt, f"good{q.first}", f"bad{q.second}", q.principle) for q in make_questions(10)]
    lock_out = status(401, "quota is used up")

    def until_seven(server: Any, body: dict[str, Any]) -> Any:
        late(0.05)(server, body)
        return lock_out(server, body) if len(server.bodies) > 12 else prefers_good(server, body)

    log = tmp_path / "log.jsonl"
    with chat_server(until_seven) as server:
        judge = EndpointJudge(endpoint(server, concurrency=3))
        with pytest.raises(InputError, match="HTTP 401: quota is used up"):
            judge_all(questions, judge, log)
        assert 1 < server.most_at_once <= 3
        n_kept = len(log.read_text().splitlines())
        assert 3 <= n_kept <= 6
        asked = len(server.bodies)
        server.answers[:] = [prefers_good]
        judgements = judge_all(questions, judge, log)
        assert len(server.bodies) - asked == 2 * (10 - n_kept)
    assert judgements is not None
    assert [row["chosen"] for row in label_rows([[each] for each in judgements], "j")] == [q.first for q in questions]
