"""The page as people use it, in a real Chromium: keys, drag, undo, reload, a phone."""

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from textrl_env.reward_models.feedback.desk import Desk
from textrl_env.reward_models.feedback.store import Item
from textrl_env.reward_models.feedback.web import Access, allowed_hosts, listen, make_server

HOSTILE = "</div><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {{ 7 * 7 }}"


class Served:
    """A desk behind its page."""

    def __init__(self, desk: Desk, invited: list[str] | None = None, instructions: str = "# Rules") -> None:
        self.desk = desk
        self.access = Access(desk.store.setting("secret", ""), invited)
        listening = listen("127.0.0.1", 0, self.access)
        self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        hosts = allowed_hosts("127.0.0.1", ())
        self.server = make_server(desk, access=self.access, instructions=instructions, hosts=hosts)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def serve(make_desk: Callable[..., Desk]) -> Iterator[Callable[..., Served]]:
    running = []

    def start(
        items: Any = 6, *, invited: list[str] | None = None, instructions: str = "# Rules", **plan: Any
    ) -> Served:
        running.append(Served(make_desk(items, **plan), invited, instructions))
        return running[-1]

    yield start
    for served in running:
        served.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the desk as somebody; what the page complains of is an error, but for connections a test cut itself."""
    contexts, complaints = [], []

    def heard(kind: str, text: str) -> None:
        if kind == "error" and "net::ERR_FAILED" not in text:
            complaints.append(text)

    def open_as(served: Served, name: str = "ada", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1200, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard(message.type, message.text))
        page.on("pageerror", lambda error: heard("error", str(error)))
        if not name:
            page.goto(served.url + "/dashboard")
            return page
        page.goto(served.url)
        page.get_by_label("Your name").fill(name)
        page.keyboard.press("Enter")
        page.wait_for_selector("#main .question, #main .finished")
        # Until then keys go nowhere and nothing has its place: scripts and style sheets come after the text.
        page.wait_for_load_state("load")
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert complaints == []


def identity(page: Page) -> str:
    question = page.locator("#question")
    return "/".join(str(question.get_attribute(f"data-{name}")) for name in ("item", "round", "revision"))


def settle(page: Page) -> None:
    """Looks at a question for a moment: in the first one the page takes no answer."""
    page.evaluate(
        "async () => { const question = await import('/question.js');"
        "while (!question.settled() || question.seconds() <= 0.2) await new Promise(requestAnimationFrame); }"
    )


def press(page: Page, *keys: str) -> None:
    """Presses keys of which the last is an answer, and waits for the next question."""
    settle(page)
    before = identity(page)
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function(
        "before => { const f = document.getElementById('question');"
        "return !f || `${f.dataset.item}/${f.dataset.round}/${f.dataset.revision}` !== before; }",
        arg=before,
    )


def texts(page: Page) -> list[str]:
    return page.locator(".card > .text").all_inner_texts()


def rankings(n: int, k: int = 4) -> list[Item]:
    return [Item("ranking", f"Question {i}?", tuple(f"text {j} of {i}" for j in range(k))) for i in range(n)]


def test_twenty_items_by_keyboard_alone(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(20)
    page = open_page(served)
    wanted = {}
    for number in range(20):
        shown, item = texts(page), str(page.locator("#question").get_attribute("data-item"))
        good = 1 + next(place for place, text in enumerate(shown) if text.startswith("good"))
        if number % 5 == 3:
            press(page, "t")
            wanted[item] = (1, 1)
        elif number % 5 == 4:
            press(page, *["ArrowRight"] * (good - 1), "Enter")
            wanted[item] = (1, 2)
        else:
            press(page, str(good))
            wanted[item] = (1, 2)
    expect(page.get_by_role("heading", name="That was the last one")).to_be_visible()
    found = {event.key.item: event.judgement.ranks for event in served.desk.log.labels()}
    # Every item's first completion is the good one: the order on the screen has left no trace.
    assert found == wanted and set(found.values()) == {(1, 2), (1, 1)}
    assert all(0.2 < event.seconds < 60 for event in served.desk.log.labels())


def test_tags_reasons_and_a_comment_by_keyboard(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(2)
    page = open_page(served)
    second_is_bad = texts(page)[1].startswith("bad")
    for key in ("ArrowRight", "e", "r", "r", "x", "/"):
        page.keyboard.press(key)
    page.keyboard.type("1 is nicer, u see?")
    page.keyboard.press("Escape")
    press(page, "1")
    (event,) = served.desk.log.labels()
    assert event.judgement.tags == (((), ("false",)) if second_is_bad else (("false",), ()))
    assert event.judgement.reasons == ("helpful",) and event.judgement.comment == "1 is nicer, u see?"
    expect(page.locator('[aria-pressed="true"]')).to_have_count(0)
    assert page.locator("textarea").input_value() == "", "the next question begins with nothing"


def drag(page: Page, card: Locator, to: Locator) -> None:
    source, target = (each.bounding_box() for each in (card.locator(".head"), to))
    assert source and target
    page.mouse.move(source["x"] + 40, source["y"] + source["height"] / 2)
    page.mouse.down()
    for step in range(1, 9):
        end = target["y"] + target["height"] * 0.75
        page.mouse.move(source["x"] + 40, source["y"] + (end - source["y"]) * step / 8)
    page.mouse.up()


def test_ranking_by_drag(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(rankings(2))
    page = open_page(served)
    settle(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Put them in order first")).to_be_visible()
    assert served.desk.log.labels() == [], "an order that nobody made is no answer"
    before = texts(page)
    drag(page, page.locator(".card").nth(0), page.locator(".card").nth(2))
    assert texts(page) == [before[1], before[2], before[0], before[3]]
    assert page.locator(".rank").all_inner_texts() == ["Best", "2nd", "3rd", "4th"]
    item, order = str(page.locator("#question").get_attribute("data-item")), texts(page)
    press(page, "Enter")
    (event,) = served.desk.log.labels()
    completions = served.desk.store.items[item].completions
    assert event.judgement.ranks == tuple(1 + order.index(text) for text in completions)


def test_ranking_by_keys(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(rankings(2))
    page = open_page(served)
    start = texts(page)
    for key in "3142":
        page.keyboard.press(key)
    assert texts(page) == [start[place] for place in (2, 0, 3, 1)]
    page.keyboard.press("Shift+ArrowUp")  # Marked is the one whose number came last.
    assert texts(page) == [start[place] for place in (2, 0, 1, 3)]
    for key in ("ArrowDown", "t"):
        page.keyboard.press(key)
    assert page.locator(".rank").all_inner_texts() == ["Best", "2nd", "3rd", "Tied"]
    item = str(page.locator("#question").get_attribute("data-item"))
    press(page, "Enter")
    wanted = {start[2]: 1, start[0]: 2, start[1]: 3, start[3]: 3}
    (event,) = served.desk.log.labels()
    assert event.judgement.ranks == tuple(wanted[text] for text in served.desk.store.items[item].completions)


def test_rating_by_keys_and_clicks(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve([Item("rating", f"Question {number}?", ("text",)) for number in range(3)])
    page = open_page(served)
    press(page, "6")
    press(page, "ArrowRight", "ArrowRight", "Enter")
    settle(page)
    page.get_by_role("button", name="1 of 7, worst").click()
    expect(page.locator(".finished")).to_be_visible()
    assert [event.judgement.rating for event in served.desk.log.labels()] == [6, 5, 1]


def test_undo_by_key_and_by_the_toast(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(4)
    page = open_page(served)
    first = identity(page)
    press(page, "1")
    press(page, "2")
    press(page, "u")
    press(page, "u")
    assert identity(page) == first.replace("/0/1", "/0/3")
    expect(page.get_by_text("Taken back")).to_be_visible()
    assert served.desk.log.labels() == []
    press(page, "s")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#question")).to_have_attribute("data-revision", "5")
    kinds = [event.kind for event in served.desk.store.events()]
    assert kinds == ["label", "label", "undo", "undo", "skip", "undo"], "nothing is removed"


def test_a_reload_in_the_middle_loses_nothing(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(rankings(2))
    page = open_page(served)
    for key in ("4", "2", "3", "w", "c"):
        page.keyboard.press(key)
    page.locator("textarea").fill("half a thought")
    page.wait_for_timeout(400)
    before, question, tags = texts(page), identity(page), page.locator('[aria-pressed="true"]').all_inner_texts()
    page.reload()
    assert (texts(page), identity(page)) == (before, question)
    assert page.locator('[aria-pressed="true"]').all_inner_texts() == tags and len(tags) == 2
    assert page.locator("textarea").input_value() == "half a thought"
    press(page, "Enter")
    (event,) = served.desk.log.labels()
    assert event.judgement.comment == "half a thought" and event.seconds > 0.5, "time before the reload counts"


def test_an_answer_reaches_the_desk_when_the_network_is_back(
    serve: Callable[..., Served], open_page: Callable[..., Page]
) -> None:
    served = serve(3)
    page = open_page(served)
    settle(page)
    # The answer arrives, but its confirmation is lost: sent again, it must not be a second label.
    page.route("**/answers", lambda route: (route.fetch(), route.abort()), times=1)
    with page.expect_event("console"):
        page.keyboard.press("1")
        expect(page.get_by_text("Not saved yet, trying again")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Saved")).to_be_visible()
    assert len(served.desk.store.events()) == 1
    press(page, "2")
    assert len(served.desk.log.labels()) == 2


def test_completions_are_text_and_nothing_else(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    conversation = [{"role": "<b>user</b>", "content": HOSTILE}]
    served = serve([Item("pair", conversation, (HOSTILE, "\u202eevil\x1b[31m"))], instructions=f"# Rules\n\n{HOSTILE}")
    page = open_page(served, name="<i>ada</i>")
    assert HOSTILE in texts(page) and "\\u202eevil\\u001b[31m" in texts(page)
    assert page.locator(".prompt .text").inner_text() == HOSTILE
    assert page.get_by_role("link", name="<i>ada</i>").is_visible()
    press(page, "1")
    for path in ("/instructions", "/dashboard"):
        page.goto(served.url + path)
        assert page.title() in ("Instructions", "Dashboard")
        assert page.locator("main img, main script, main i, main table b").count() == 0
    assert "onerror" in page.goto(served.url + "/instructions").text()  # type: ignore[union-attr]
    assert page.locator("article").inner_text().count("<script>") == 1


@pytest.mark.parametrize("task", ["pair", "ranking", "rating"])
def test_a_phone_shows_everything_and_is_used_by_touch(
    serve: Callable[..., Served], open_page: Callable[..., Page], task: Any
) -> None:
    width = 320
    long = "An answer that goes on and on, as answers do. " * 8
    k = {"pair": 2, "ranking": 4, "rating": 1}[task]
    items = [Item(task, "Why?", tuple(f"{n}: {long}" + "x" * 200 for n in range(k)))]
    served = serve(items)
    page = open_page(served, has_touch=True, is_mobile=True, device_scale_factor=1)
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    for button in page.locator(".actions button").all():
        box = button.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 44
        assert box["y"] + box["height"] <= 740, "the answers are at hand however long the text is"
    settle(page)
    if task == "ranking":
        page.locator(".card").nth(1).locator(".text").tap()
        page.get_by_role("button", name="Tie").tap()
        page.get_by_role("button", name="Save ranking").tap()
    else:
        page.locator(".actions .choice").last.tap()
    expect(page.locator(".finished")).to_be_visible()
    (event,) = served.desk.log.labels()
    assert event.judgement.rating == 7 if task == "rating" else event.judgement.ranks


def test_nothing_moves_when_the_marked_card_changes(
    serve: Callable[..., Served], open_page: Callable[..., Page]
) -> None:
    page = open_page(serve(2))
    script = "Array.from(document.querySelectorAll('#main *'), e => JSON.stringify(e.getBoundingClientRect())).join()"
    before = page.evaluate(script)
    for key in ("ArrowRight", "q", "z"):
        page.keyboard.press(key)
        assert page.evaluate(script) == before


def test_two_people_at_once_and_a_live_dashboard(serve: Callable[..., Served], open_page: Callable[..., Page]) -> None:
    served = serve(3, overlap=2)
    ada, ben, owner = open_page(served, "ada"), open_page(served, "ben"), open_page(served, "")
    for _ in range(3):
        for page in (ada, ben):
            shown = texts(page)
            press(page, "1" if shown[0].startswith("good") == (page is ada) else "2")
    expect(owner.locator(".tiles .value").first).to_have_text("6", timeout=6000)
    expect(owner.locator(".tiles .value").nth(2)).to_have_text("0%")
    expect(owner.locator(".disputed")).to_have_count(3)
    assert owner.locator(".disputed .votes").first.inner_text().split() == ["ada", "1", ">", "2", "ben", "2", ">", "1"]
    rows = owner.locator("tbody tr").all_inner_texts()
    assert [re.split(r"\s+", row)[:2] for row in rows] == [["ada", "3"], ["ben", "3"]]


def test_everything_has_a_name_and_a_focus_one_can_see(
    serve: Callable[..., Served], open_page: Callable[..., Page]
) -> None:
    page = open_page(serve(1))
    nameless = page.evaluate(
        "Array.from(document.querySelectorAll('button, a, textarea, input')).filter("
        "e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length"
    )
    assert nameless == 0
    seen = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.tagName + e.textContent.slice(0, 20), s.outlineStyle !== 'none' || s.boxShadow !== 'none']; })()"
        )
        assert focused[1] or focused[0].startswith("BODY"), focused
        seen.add(focused[0])
    assert len(seen) > 10
