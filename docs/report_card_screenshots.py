"""Draws the picture of docs/report_card.md from a run's report card: textrl report rm runs/quickstart comes first.

Takes about 10 seconds. Needs `pip install -e ".[dev]"` and Chromium (apt-get install chromium).
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
PAGE = Path("runs/quickstart/reward_model/report_card.html")


def main(page: Path = PAGE, out: Path = DOCS) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        tab.goto(page.resolve().as_uri())
        tab.screenshot(path=out / "report_card_desktop.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
