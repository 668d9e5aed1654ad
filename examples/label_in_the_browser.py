"""From clicks to a judged reward model: 30 items are labelled in the desk's real page, exported and learned from.

A policy writes four replies to each of 30 customers; `textrl label` serves its page; headless Chromium opens it and
presses the keys of a simulated person, who ranks by the gold score seen through some noise. With `--by-hand` you rank
yourself, in your own browser. Then the export trains a reward model, and its report card says what 30 labels are worth:
not much, and the card shows where. Takes about a minute on two CPU cores, half of it for the SFT model.

Needs `pip install -e ".[label]"`, and for the simulated person `pip install playwright` and Chromium.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from textrl_env.pipeline import RewardModelOptions, SFTOptions, run_reward_model, run_sft
from textrl_env.pipeline.report_card import ReportCardOptions, write_report_card
from textrl_env.pipeline.runs import read_json, run_stage, write_jsonl
from textrl_env.reward_models import RaterPopulation, RewardModelConfig, write_preferences
from textrl_env.reward_models.feedback.exchange import export_labels
from textrl_env.worlds import support_desk

if TYPE_CHECKING:
    from playwright.sync_api import Page


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    run_dir: Path = Path("runs/label_in_the_browser")
    """Where everything goes; an SFT model that is there already is used."""
    n_items: int = 30
    """Prompts, each with four replies to rank."""
    by_hand: bool = False
    """You label, at the address that is printed; Ctrl-C ends."""
    noise: float = 0.05
    """The simulated person's, in units of the gold score."""
    n_judged: int = 64
    """Held-out prompts on which the report card samples."""
    seed: int = 0
    """Of the models, the replies and the simulated person."""
    sft: SFTOptions = field(default_factory=SFTOptions)
    """How to make the policy."""
    training: RewardModelConfig = field(default_factory=lambda: RewardModelConfig(n_epochs=8, batch_size=5))
    """How to train the reward model."""


def main(args: Args) -> dict[str, Any]:
    """Labels, trains and judges on rankings by simulated raters; returns the report card."""
    if not args.by_hand and find_spec("playwright") is None:
        raise SystemExit("the simulated person needs: pip install playwright; or label yourself, with --by-hand")
    policy, labels = args.run_dir / "sft", args.run_dir / "labels.jsonl"
    if not policy.is_dir():
        run_stage(run_sft, args.sft, args.run_dir, args.seed)
    database = label_items(args, policy)
    export_labels(database, labels, "rankings")
    heldout = write_preferences(args.run_dir / "heldout.jsonl", rank_heldout(args))
    options = RewardModelOptions(preferences=labels, heldout=heldout, model=policy, training=args.training)
    run_stage(run_reward_model, options, args.run_dir, args.seed)
    card_options = ReportCardOptions(preferences=heldout, n_prompts=args.n_judged, seed=args.seed)
    files = write_report_card(args.run_dir, card_options)
    for finding in files.card.verdicts.values():
        print(f"{finding.check}: {finding.outcome}, {finding.message}")
    if files.card.failed:
        print("the reward model fails: label more, or let textrl quickstart show what 2,500 rankings give")
    return read_json(files.json)


def rank_heldout(args: Args) -> list[dict[str, Any]]:
    """Rankings of further prompts' demonstrations by simulated raters, for judging."""
    rng = np.random.default_rng(args.seed + 1)
    prompts = [row["prompt"] for row in support_desk.prompts(300, seed=args.seed, split="heldout")]
    texts = [[support_desk.demonstration(prompt, rng) for _ in range(4)] for prompt in prompts]
    return RaterPopulation.default(support_desk.gold_reward, seed=args.seed).rank(prompts, texts, rng=rng)


def label_items(args: Args, policy: Path) -> Path:
    """Serves the page until all items are ranked; returns the database."""
    prompts, database = args.run_dir / "prompts.jsonl", args.run_dir / "labels.db"
    write_jsonl(prompts, [{"prompt": row["prompt"]} for row in support_desk.prompts(args.n_items, seed=args.seed)])
    database.unlink(missing_ok=True)
    textrl = str(Path(sys.executable).with_name("textrl"))
    command = [textrl, "label", "--task", "ranking", "--k", "4", "--repeats", "0", "--port", "0"]
    command += ["--prompts", str(prompts), "--policy", str(policy), "--database", str(database)]
    if args.by_hand:
        subprocess.run(command, check=True)
    else:
        with serve_desk(command) as address, open_page(address) as page:
            rng = np.random.default_rng(args.seed)
            for _ in range(args.n_items):
                rank(page, rng, args.noise)
            page.wait_for_selector(".finished")
    return database


@contextmanager
def serve_desk(command: list[str]) -> Iterator[str]:
    """The desk in a process of its own, at the address that it prints; Ctrl-C ends it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as desk:
        assert desk.stdout is not None
        output = ""
        while not (address := re.search(r"http://\S+", output)):
            line = desk.stdout.readline()
            if not line:
                sys.exit(f"the desk did not start: {output}")
            output += line
        yield address[0]
        desk.send_signal(signal.SIGINT)


@contextmanager
def open_page(address: str) -> Iterator["Page"]:
    """The page in headless Chromium, signed in."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.get_by_label("Your name").fill("simulated")
        page.keyboard.press("Enter")
        page.wait_for_selector("#question")
        yield page
        browser.close()


def rank(page: "Page", rng: np.random.Generator, noise: float) -> None:
    """Reads the question on the screen and ranks by key, as a person who perceives gold + noise * Gumbel."""
    page.wait_for_timeout(200)  # The page takes no answer in the first moments of a question.
    prompt = page.locator(".prompt .text").inner_text()
    replies = page.locator(".card > .text").all_inner_texts()
    gold = support_desk.gold_reward([prompt] * len(replies), [f" {reply}" for reply in replies])
    perceived = np.array(gold) + noise * rng.gumbel(size=len(replies))
    for place in np.argsort(-perceived):
        page.keyboard.press(str(place + 1))
    with page.expect_response("**/answers"):
        page.keyboard.press("Enter")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
