"""The desk's routes: who gets in, what is refused and how, and that nothing is answered before it is written."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import Desk
from textrl_env.reward_models.feedback.store import Item, StorageError
from textrl_env.reward_models.feedback.web import Access, allowed_hosts, listen, make_links
from textrl_env.reward_models.feedback.web.access import OWNER
from textrl_env.reward_models.feedback.web.app import make_app
from textrl_env.reward_models.feedback.web.request_gate import MAX_BODY
from textrl_env.reward_models.feedback.web.server import is_loopback

URL = "http://127.0.0.1:8765"


class Site:
    """A desk's application and a browser's worth of client."""

    def __init__(self, desk: Desk, invited: list[str] | None, hosts: list[str]) -> None:
        self.desk, self.access = desk, Access(desk.store.setting("secret", ""), invited)
        app = make_app(desk, access=self.access, instructions="# Rules", hosts=hosts)
        self.client = TestClient(app, base_url=URL, headers={"Origin": URL}, raise_server_exceptions=False)

    def sign_in(self, name: str = "ada") -> None:
        self.client.headers["X-CSRF-Token"] = self.access.csrf(None)
        self.client.cookies.clear()
        assert self.client.post("/session", json={"name": name}).status_code == 200
        self.client.headers["X-CSRF-Token"] = self.access.csrf(name)

    def body(self) -> dict[str, Any]:
        """An answer to the question that the page shows."""
        page = self.client.get("/label").text
        item, rounds, revision = re.findall(r'data-(?:item|round|revision)="(\w+)"', page)
        asked = {"item": item, "round": int(rounds), "revision": int(revision)}
        return {**asked, "kind": "label", "ranks": [1, 2], "seconds": 1.0, "submission": f"s-{item}-{revision}"}


@pytest.fixture
def site(make_desk: Callable[..., Desk]) -> Any:
    sites = []

    def make(items: Any = 3, *, invited: list[str] | None = None, hosts: tuple[str, ...] = ("127.0.0.1",)) -> Site:
        sites.append(Site(make_desk(items), invited, list(hosts)))
        sites[-1].client.__enter__()
        return sites[-1]

    yield make
    for each in sites:
        each.client.__exit__()


MakeSite = Callable[..., Site]


def test_an_answer_is_stored_and_brings_the_next_question(site: MakeSite) -> None:
    desk = site()
    desk.sign_in()
    body = desk.body()
    answered = desk.client.post("/answers", json=body)
    assert answered.status_code == 200 and answered.json()["saved"] == 1
    assert f'data-item="{body["item"]}"' not in answered.json()["question"]
    assert desk.client.post("/answers", json=body).json()["saved"] == 1, "sent again, it is the same label"
    assert desk.client.post("/answers", json={**body, "submission": "another"}).status_code == 409
    taken_back = desk.client.post("/undo", json={"submission": "u1"})
    assert f'data-item="{body["item"]}"' in taken_back.json()["question"]
    assert desk.client.post("/undo", json={"submission": "u1"}).json()["saved"] == 2, "undone once, not twice"
    assert desk.client.post("/undo", json={"submission": "u2"}).status_code == 409
    assert [event.kind for event in desk.desk.store.events()] == ["label", "undo"]


def test_nothing_is_acknowledged_that_could_not_be_written(site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = site()
    desk.sign_in()
    body = desk.body()

    def full(events: Any) -> list[bool]:
        raise StorageError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(desk.desk.store, "append", full)
        refused = desk.client.post("/answers", json=body)
    assert refused.status_code == 507 and "disk is full" in refused.json()["error"]
    assert desk.client.post("/answers", json=body).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "[::1"])
def test_another_host_is_refused(site: MakeSite, host: str) -> None:
    answer = site().client.get("/", headers={"Host": host})
    assert answer.status_code == 400 and "unknown host" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9999", "LOCALHOST:80", "[::1]:8765", "desk.example"])
def test_a_known_host_is_served(site: MakeSite, host: str) -> None:
    hosts = tuple(allowed_hosts("127.0.0.1", ["desk.example"]))
    assert site(hosts=hosts).client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "http://127.0.0.1:1", "http://127.0.0.1:8765.evil.example", "file://"]
)
@pytest.mark.parametrize("path", ["/answers", "/undo", "/session"])
def test_writing_from_another_origin_is_refused(site: MakeSite, origin: str, path: str) -> None:
    desk = site()
    desk.sign_in()
    assert desk.client.post(path, json=desk.body(), headers={"Origin": origin}).status_code == 403
    assert desk.desk.store.events() == []


@pytest.mark.parametrize("token", [None, "", "x" * 40, "é"])
def test_writing_without_the_pages_token_is_refused(site: MakeSite, token: str | None) -> None:
    desk = site()
    desk.sign_in()
    body = desk.body()
    del desk.client.headers["X-CSRF-Token"]
    headers = {} if token is None else {"X-CSRF-Token": token.encode()}
    assert desk.client.post("/answers", json=body, headers=headers).status_code == 403
    desk.client.headers["X-CSRF-Token"] = desk.access.csrf("ben")
    assert desk.client.post("/answers", json=body).status_code == 403, "somebody else's token"
    assert desk.desk.store.events() == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"[" * 20_000, "application/json", 400),
        (b"[" + b"1," * MAX_BODY + b"1]", "application/json", 413),
        (b"{}", "application/json", 422),
        (b'{"item": NaN}', "application/json; charset=utf-8", 422),
    ],
)
def test_what_is_no_answer_is_a_clear_4xx(site: MakeSite, content: bytes, kind: str, status: int) -> None:
    desk = site()
    desk.sign_in()
    answer = desk.client.post("/answers", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status and answer.json()["error"]
    assert desk.desk.store.events() == []


def test_a_comment_that_is_too_long_is_refused(site: MakeSite) -> None:
    desk = site()
    desk.sign_in()
    answer = desk.client.post("/answers", json={**desk.body(), "comment": "x" * 2001})
    assert answer.status_code == 422 and "at most 2000" in answer.json()["error"]


@pytest.mark.parametrize("cookie", [None, "", "x", "YWRh.", "YWRh.0000", "é.1", "/.", "YWRh" * 1000])
def test_a_forged_session_is_none(site: MakeSite, cookie: str | None) -> None:
    desk = site()
    desk.sign_in()
    body = desk.body()
    desk.client.cookies.clear()
    headers = {"Cookie": f"{desk.access.cookie_name}={cookie}".encode()} if cookie is not None else {}
    assert desk.client.post("/answers", json=body, headers=headers).status_code == 401
    assert desk.client.get("/label", headers=headers, follow_redirects=False).headers["location"] == "/"


def test_a_session_outlives_a_restart_but_not_an_invitation(site: MakeSite) -> None:
    access = site().access
    cookie, secret = access.session("ada"), site().desk.store.setting("secret", "")
    assert Access(secret).session_name(cookie) == "ada"
    assert Access(secret, ["ada"]).session_name(cookie) == "ada"
    assert Access(secret, ["ben"]).session_name(cookie) is None
    assert Access("another").session_name(cookie) is None


def test_an_invitation_signs_in_one_person_and_no_one_else_gets_in(site: MakeSite) -> None:
    desk = site(invited=["ada", "ben"])
    link = make_links(URL, desk.access)["ada"].removeprefix(URL)
    followed = desk.client.get(link, follow_redirects=False)
    assert followed.status_code == 303 and followed.headers["location"] == "/label", "the token leaves the address"
    assert "httponly" in followed.headers["set-cookie"].lower()
    desk.client.headers["X-CSRF-Token"] = desk.access.csrf("ada")
    assert desk.client.post("/answers", json=desk.body()).status_code == 200
    assert desk.client.get("/dashboard").status_code == 403 == desk.client.get("/dashboard/figures").status_code
    assert desk.client.post("/session", json={"name": "eve"}).status_code == 403
    assert desk.client.get("/?invite=" + "0" * 40).status_code == 403
    desk.client.cookies.clear()
    assert desk.client.get("/label", follow_redirects=False).status_code == 303
    assert "by invitation" in desk.client.get("/").text


def test_the_owners_link_shows_the_dashboard_and_labels_nothing(site: MakeSite) -> None:
    desk = site(invited=["ada"])
    link = make_links(URL, desk.access)["the dashboard"].removeprefix(URL)
    assert desk.client.get(link, follow_redirects=False).headers["location"] == "/dashboard"
    assert "Annotators" in desk.client.get("/dashboard").text
    assert desk.client.get("/label", follow_redirects=False).status_code == 303
    desk.client.headers["X-CSRF-Token"] = desk.access.csrf(OWNER)
    assert desk.client.post("/undo", json={"submission": "u"}).status_code == 401


def test_every_page_carries_the_headers_and_no_inline_script(site: MakeSite) -> None:
    desk = site()
    desk.sign_in()
    for path in ("/", "/label", "/instructions", "/dashboard", "/dashboard/figures", "/style.css", "/desk.js", "/none"):
        answer = desk.client.get(path)
        assert answer.status_code == (404 if path == "/none" else 200)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src 'self'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        if not path.endswith((".css", ".js")):
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", answer.text)
            assert not re.search(r"(?:src|href)=\"(?!/|data:,)", answer.text), "nothing comes from elsewhere"
    assert "content-security-policy" in desk.client.post("/answers", content=b"x").headers


def test_markdown_is_rendered_without_html_or_scripts(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(1)
    markdown = "**bold** <b>x</b>\n\n[a](javascript:alert(1)) [b](https://example.org) ![i](http://evil/x.png)"
    app = make_app(desk, access=Access("s"), instructions=markdown, hosts=["127.0.0.1"])
    with TestClient(app, base_url=URL) as client:
        page = client.get("/instructions").text
    assert "<strong>bold</strong>" in page and '<a href="https://example.org">b</a>' in page
    assert "<b>" not in page and "&lt;b&gt;x" in page and "<img" not in page
    assert 'href="javascript' not in page


def test_a_name_is_checked_and_everything_is_escaped(site: MakeSite) -> None:
    hostile = '"><script>x</script>'
    desk = site([Item("pair", hostile, (hostile, "b"))])
    desk.client.headers["X-CSRF-Token"] = desk.access.csrf(None)
    for name in ("", " a", "x" * 41, 7, None, ["a"]):
        assert desk.client.post("/session", json={"name": name}).status_code == 422
    desk.sign_in(hostile)
    desk.client.post("/answers", json=desk.body())
    for path in ("/", "/label", "/dashboard"):
        page = desk.client.get(path).text
        assert "<script>" not in page and (path == "/label" or "&lt;script&gt;" in page)


def test_an_unexpected_error_tells_nothing_of_the_inside(site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = site()
    desk.sign_in()
    body = desk.body()
    monkeypatch.setattr(desk.desk, "answer", lambda *_: 1 / 0)
    answer = desk.client.post("/answers", json=body)
    assert answer.status_code == 500 and "division" not in answer.text and json.loads(answer.text)["error"]


def test_other_machines_get_in_by_invitation_only() -> None:
    with pytest.raises(InputError, match=r"host 0\.0\.0\.0 lets other machines in: say who is invited"):
        listen("0.0.0.0", 0, Access("s"))
    with listen("0.0.0.0", 0, Access("s", ["ada"])) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}: cannot listen there"):
            listen("127.0.0.1", port, Access("s"))
    with pytest.raises(InputError, match="port must be in"):
        listen("127.0.0.1", 70_000, Access("s"))
    with pytest.raises(InputError, match="invite: a name has"):
        Access("s", [""])
    assert [host for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1") if not is_loopback(host)] == []
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.evil.example"]))
