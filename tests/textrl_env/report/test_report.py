import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.report import write_learning_curve, write_report

HOSTILE = '</td></table><script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)>{{ 7 * 7 }}'
FIGURES = {
    "scores_by_update",
    "scores_by_kl",
    "kl",
    "entropy",
    "length",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
    "value_loss",
    "policy_gradient_loss",
    "rlhf_reward",
    "sft_loss",
    "rm_loss",
    "rm_accuracy",
    "rm_reliability",
    "rm_margin",
    "gold_components",
}
WORSE = {"gold_win_rate": 0.3, "gold_win_rate_low": 0.27, "gold_win_rate_high": 0.34, "gold_ppo": 0.5}
REQUIRED = ["manifest.json", "summary.json", "ppo/progress.jsonl", "evaluation/completions.jsonl"]


class Page(HTMLParser):
    """Elements with their attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]


def report(run_dir: Path) -> str:
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    return path.read_text(encoding="utf-8")


def edit(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_rows(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def drop(*names: str, prefix: str = "") -> Callable[[dict[str, Any]], None]:
    def change(row: dict[str, Any]) -> None:
        for key in list(row):
            if key in names or (prefix and key.startswith(prefix)):
                del row[key]

    return change


def test_page_needs_nothing_but_itself(run_dir: Path) -> None:
    html = report(run_dir)
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "img", "object", "embed", "base"}
    for tag, attrs in page.elements:
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                assert str(value).startswith("#"), (tag, name, value)
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*[\"']?([^)]*)", html))
    assert "@import" not in html
    assert "@font-face" not in html
    assert set(re.findall(r'https?://[^"\s<]+', html)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_ids_are_unique_and_every_reference_has_its_target(run_dir: Path) -> None:
    html = report(run_dir)
    ids = Page(html).ids()
    assert len(ids) == len(set(ids))
    targets = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)}
    assert len(targets) > 20
    assert targets <= set(ids)


def test_every_figure_is_there_and_takes_its_colours_from_the_page(run_dir: Path) -> None:
    html = report(run_dir)
    assert {i.removeprefix("figure-") for i in Page(html).ids() if i.startswith("figure-")} == FIGURES
    svgs = re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL)
    assert len(svgs) == len(FIGURES)
    for svg in svgs:
        assert "var(--" in svg
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}


def test_same_run_gives_the_same_bytes(tmp_path: Path, make_fixture: Callable[[Path], Path]) -> None:
    first, second = (write_report(make_fixture(tmp_path / name)) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() == write_report(tmp_path / "a").read_bytes()


def test_numbers_of_the_summary_are_on_the_page(run_dir: Path) -> None:
    text = Page(report(run_dir)).text
    for key, value in json.loads((run_dir / "summary.json").read_text()).items():
        assert key in text
        assert json.dumps(value) in text, key
    for shown in (
        "78.4%",
        "74.6% to 81.7%",
        "1.10 → 1.68",
        "\N{MINUS SIGN}0.41 → 2.47",
        "9.31",
        "76.8%",
        "84.2%",
        "6 min 01 s",
    ):
        assert shown in text
    assert "nan" not in re.findall(r"[a-z]+", text.lower())
    assert "Undefined" not in text


def test_manifest_is_on_the_page(run_dir: Path) -> None:
    text = Page(report(run_dir)).text
    assert "textrl rlhf --world support-desk --seed 7 --ppo.total-timesteps 163840 --out runs/support-desk-7" in text
    assert "kl.estimator" in text
    assert "2.13.0" in text


@pytest.mark.parametrize("hostile", [HOSTILE, "\ud800 \x00 \x1b[31m \u202egnp.exe \u2028", "x" * 50_000, "$\\frac{1}$"])
def test_hostile_text_is_shown_and_does_nothing(run_dir: Path, hostile: str) -> None:
    texts = {"prompt": hostile, "sft": hostile, "ppo": hostile}
    edit_rows(run_dir / "evaluation" / "completions.jsonl", lambda row: row.update(texts))
    manifest = dict.fromkeys(("title", "world", "command"), hostile) | {"versions": {hostile: hostile}}
    edit(run_dir / "manifest.json", lambda m: m.update(manifest, config={hostile: {hostile: hostile}}))
    edit(run_dir / "summary.json", lambda s: s.update({f"gold_{hostile[:40]}_{k}": 0.5 for k in ("sft", "ppo")}))
    page = Page(report(run_dir))
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    if hostile == HOSTILE:
        assert page.text.count(HOSTILE) >= 3 * 12
    assert not re.search("[\x00\x1b\u202e]", page.text)
    assert "xxxxx … (48,800 more characters)" in page.text or len(hostile) < 1000


def test_run_without_gold(run_dir: Path) -> None:
    edit(run_dir / "summary.json", drop(prefix="gold_"))
    edit_rows(run_dir / "ppo" / "progress.jsonl", drop("objective/gold"))
    edit_rows(run_dir / "evaluation" / "completions.jsonl", drop(prefix="gold_"))
    page = Page(report(run_dir))
    assert "There is no gold reward in this run" in page.text
    assert "Gold not measured" in page.text
    assert "worst changes in proxy score" in page.text
    assert "figure-gold_components" not in page.ids()
    assert "figure-scores_by_update" in page.ids()
    assert write_learning_curve(run_dir, run_dir / "curve.png").exists()


def test_stages_that_a_run_skipped_are_left_out(run_dir: Path) -> None:
    (run_dir / "sft" / "progress.jsonl").unlink()
    (run_dir / "reward_model" / "metrics.json").unlink()
    page = Page(report(run_dir))
    assert "This run trained no reward model of its own." in page.text
    assert not {"figure-sft_loss", "figure-rm_accuracy"} & set(page.ids())


def test_barest_run(run_dir: Path) -> None:
    (run_dir / "summary.json").write_text("{}")
    (run_dir / "manifest.json").write_text("{}")
    (run_dir / "reward_model" / "metrics.json").write_text("{}")
    (run_dir / "ppo" / "progress.jsonl").write_text('{"objective/kl": 0.5, "objective/scores": null}\n')
    (run_dir / "evaluation" / "completions.jsonl").write_text(
        '{"prompt": "p", "sft": "s", "ppo": "q", "gold_sft": null}\n'
    )
    assert "This run recorded no comparison of PPO with SFT." in Page(report(run_dir)).text
    write_learning_curve(run_dir, run_dir / "curve.png")


@pytest.mark.parametrize(
    ("changes", "badge", "words"),
    [
        ({}, "Better than SFT", "PPO beat the SFT model by the gold reward"),
        ({"gold_win_rate_low": 0.49}, "No clear difference", "cannot be told apart"),
        ({"gold_ppo": 0.9}, "Mixed", "the answer is mixed"),
        (WORSE, "Reward hacked", "this run hacked its reward"),
        (WORSE | {"proxy_win_rate_low": 0.4}, "Worse than SFT", "PPO did worse than the SFT model"),
        ({"gold_win_rate_low": None, "gold_sft_low": None}, "No interval", "No interval was recorded"),
        ({"gold_win_rate_low": None, "gold_ppo_low": 1.1}, "No clear difference", "cannot be told apart"),
    ],
)
def test_result_sentence_follows_the_numbers(run_dir: Path, changes: dict[str, Any], badge: str, words: str) -> None:
    edit(run_dir / "summary.json", lambda s: s.update(changes))
    html = report(run_dir)
    assert re.search(r'<span class="badge \w+">([^<]*)</span>', html).group(1) == badge  # type: ignore[union-attr]
    assert words in Page(html).text


def test_hacking_note_needs_gold_to_fall_while_proxy_rises(run_dir: Path) -> None:
    assert "the mark of reward hacking" in report(run_dir)
    progress = run_dir / "ppo" / "progress.jsonl"
    edit_rows(progress, lambda row: row.update({"objective/gold": 0.5 * row["objective/scores"]}))
    html = report(run_dir)
    assert "the mark of reward hacking" not in html
    assert "Proxy and gold rose together" in html
    edit_rows(progress, lambda row: row.update({"objective/gold": 1.0}))
    assert "gold hardly moved" in report(run_dir)


def test_table_shows_gains_losses_and_ordinary_rows_by_a_stated_rule(run_dir: Path) -> None:
    rows = [json.loads(line) for line in (run_dir / "evaluation" / "completions.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        row.update(prompt=f"prompt-{i:03d}", gold_sft=0.0, gold_ppo=float((i * 37) % 120 - 60))
    (run_dir / "evaluation" / "completions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    text = Page(report(run_dir)).text
    shown = re.findall(r"prompt-(\d{3})", text)
    change = [(int(i) * 37) % 120 - 60 for i in shown]
    assert change[:4] == [59, 58, 57, 56]
    assert change[4:8] == [-60, -59, -58, -57]
    assert len(set(shown)) == 12
    assert "12 of 120 prompts, chosen by rule" in text
    assert "went up for 59 prompts, down for 60, and was unchanged for 1" in text
    assert [int(i) // 30 for i in shown[8:]] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_file_is_named_with_what_to_run(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    with pytest.raises(InputError) as error:
        write_report(run_dir)
    assert f"{name}: no such file" in str(error.value)
    assert ("textrl --help" if name == "manifest.json" else "textrl rlhf --world support-desk") in str(error.value)


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("ppo/progress.jsonl", 17, "{", "not JSON"),
        ("ppo/progress.jsonl", 3, '{"objective/kl": NaN}', "NaN is not a finite number"),
        ("ppo/progress.jsonl", 3, '{"objective/kl": 1e999}', "1e999 is not a finite number"),
        ("ppo/progress.jsonl", 5, '{"objective/kl": "high"}', "'objective/kl' must be a number, got 'high'"),
        ("sft/progress.jsonl", 2, "[1]", "expected one JSON object per line"),
        ("evaluation/completions.jsonl", 9, '{"prompt": "p", "sft": "s"}', "no text under 'ppo'"),
        ("evaluation/completions.jsonl", 9, '{"prompt": "p", "sft": "s", "ppo": 3}', "no text under 'ppo'"),
    ],
)
def test_malformed_row_is_named(run_dir: Path, name: str, line: int, text: str, message: str) -> None:
    lines = (run_dir / name).read_text().splitlines()
    lines[line - 1] = text
    (run_dir / name).write_text("\n".join(lines))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        write_report(run_dir)
    assert f"{name}:{line}: " in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("summary.json", '{"kl": {"mean": 3}}', "summary.json: 'kl' must be one number"),
        ("summary.json", '{"kl": "far"}', "summary.json: 'kl' must be a number, got 'far'"),
        ("summary.json", '{\n"kl": 1,\n}', "summary.json:3: not JSON"),
        ("manifest.json", '{"config": 3}', "manifest.json: 'config' must be an object, got 3"),
        ("ppo/progress.jsonl", "\n", "progress.jsonl: the file has no rows"),
        ("reward_model/metrics.json", '{"calibration": [{"predicted": 0.5}]}', "calibration[0]: no 'observed'"),
        ("reward_model/metrics.json", '{"ece": "low"}', "metrics.json: 'ece' must be a number"),
    ],
)
def test_malformed_file_is_named(run_dir: Path, name: str, text: str, message: str) -> None:
    (run_dir / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        write_report(run_dir)


def test_learning_curve_is_a_png_1200_pixels_wide(run_dir: Path) -> None:
    path = write_learning_curve(run_dir, run_dir / "curve.png")
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">I", data[16:20]) == (1200,)
    assert data == write_learning_curve(run_dir, run_dir / "again.png").read_bytes()


def test_reports_need_neither_torch_nor_pyplot() -> None:
    code = "import sys, textrl_env.report; print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
