"""Draws the pictures of docs/labelling.md: serves a desk, labels a little in Chromium, and saves docs/labelling_*.png.

Takes about 20 seconds. Needs `pip install -e ".[dev]"` and Chromium (apt-get install chromium).
"""

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from textrl_env.reward_models.feedback.desk import Desk, DeskConfig
from textrl_env.reward_models.feedback.store import Item, LabelTask, Store
from textrl_env.reward_models.feedback.web import Access, allowed_hosts, listen, make_server
from textrl_env.worlds import support_desk

DOCS = Path(__file__).parent
DESKTOP, PHONE = {"width": 1100, "height": 700}, {"width": 390, "height": 780}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pair(browser, Path(folder) / "pair.db")
        ranking(browser, Path(folder) / "ranking.db")
        phone(browser, Path(folder) / "rating.db")
        browser.close()


def pair(browser: Browser, database: Path) -> None:
    """Two people compare; the dashboard says how far they agree."""
    with DeskServer(database, "pair") as url:
        ada, ben = (sign_in(browser, url, name) for name in ("Ada", "Ben"))
        for number in range(9):
            for page in (ada, ben):
                answer(page, longer_is_better=page is ada or number % 3 > 0)
        ada.keyboard.press("ArrowRight")
        ada.keyboard.press("w")
        ada.keyboard.press("z")
        shot(ada, "pair")
        ada.goto(f"{url}/dashboard")
        shot(ada, "dashboard")


def ranking(browser: Browser, database: Path) -> None:
    with DeskServer(database, "ranking") as url:
        page = sign_in(browser, url, "Ada", color_scheme="dark")
        for key in "312":
            page.keyboard.press(key)
        page.keyboard.press("t")
        shot(page, "ranking")


def phone(browser: Browser, database: Path) -> None:
    with DeskServer(database, "pair") as url:
        page = sign_in(browser, url, "Ada", viewport=PHONE, is_mobile=True, has_touch=True)
        answer(page, longer_is_better=True)
        shot(page, "phone")


class DeskServer:
    """A desk with customers' letters and answers of four kinds."""

    def __init__(self, database: Path, task: LabelTask) -> None:
        store = Store(database)
        store.add_items(items(task))
        access = Access(store.setting("secret", ""))
        self.listening = listen("127.0.0.1", 0, access)
        hosts = allowed_hosts("127.0.0.1", ())
        self.server = make_server(Desk(store, DeskConfig(overlap=2)), access=access, instructions="", hosts=hosts)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def items(task: LabelTask) -> list[Item]:
    rng, result = np.random.default_rng(0), []
    for row in support_desk.prompts(12, seed=4):
        best = support_desk.best_completion(row["prompt"], rng)
        sentences = best.strip().split(". ")
        worse = [". ".join(sentences[:1]) + ".", " ".join([best.strip()] * 2), "I do not know. Have a nice day."]
        result.append(Item(task, row["prompt"], (best, *worse)[: 2 if task == "pair" else 4]))
    return result


def sign_in(browser: Browser, url: str, name: str, **options: object) -> Page:
    page = browser.new_context(**{"viewport": DESKTOP, **options}).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#question")
    return page


def answer(page: Page, *, longer_is_better: bool) -> None:
    """By key, after a moment, as the page takes nothing at once."""
    page.wait_for_timeout(200)
    lengths = [len(text) for text in page.locator(".card > .text").all_inner_texts()]
    better = lengths.index(max(lengths) if longer_is_better else min(lengths))
    with page.expect_response("**/answers"):
        page.keyboard.press(str(better + 1))


def shot(page: Page, name: str) -> None:
    page.wait_for_timeout(300)
    page.screenshot(path=DOCS / f"labelling_{name}.png")


if __name__ == "__main__":
    main()
