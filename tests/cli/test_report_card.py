"""`textrl report rm` on a tiny run, and PPO's answer to its verdict."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from textrl_env.cli import main

QUICK = "--n-prompts 4 --n 8 --max-new-tokens 12"
PPO = "--n-updates 1 --n-prompts 8 --n-episodes 4 --batch-size 4 --max-new-tokens 8"


@pytest.fixture(scope="module")
def run(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a tiny quickstart, with a report card whose limits nothing misses."""
    copy = tmp_path_factory.mktemp("card") / "run"
    shutil.copytree(run_dir, copy)
    judge(copy, *EASY)
    return copy


EASY = [
    option
    for name, limit in {
        "accuracy": 0,
        "slice-accuracy": 0,
        "calibration": 1,
        "tilt": 1,
        "substance": 0,
        "best-of-n": 0,
        "far-agreement": 0,
    }.items()
    for option in (f"--limit.{name}", str(limit))
]


def judge(path: Path, *options: str) -> None:
    main(["report", "rm", str(path), *QUICK.split(), *options])


def card_of(run: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((run / "reward_model" / "report_card.json").read_text())
    return card


def outcome(card: dict[str, Any], name: str) -> str:
    return str(next(check["outcome"] for check in card["checks"] if check["name"] == name))


def test_the_card_has_every_section_and_the_figures_of_training(run: Path) -> None:
    card = card_of(run)
    metrics = json.loads((run / "reward_model" / "metrics.json").read_text())
    assert card["accuracy"]["n_pairs"] == metrics["n_pairs"]
    assert card["accuracy"]["accuracy"]["value"] == pytest.approx(metrics["accuracy"])
    assert card["calibration"]["ece"] == pytest.approx(metrics["ece"])
    # Known pair by pair, as the raters are simulated ones, and in all as `textrl preferences` says.
    assert card["ceiling"]["value"] == pytest.approx(metrics["ceiling"])
    assert card["accuracy"]["ceiling"] == pytest.approx(metrics["ceiling"])
    assert outcome(card, "invariance") == "passed" and card["invariance"]["batch"] < 1e-5
    assert set(card["slices"]) == {"problem", "harmful"}
    assert [point["n"] for point in card["best_of_n"]["points"]] == [1, 2]
    kinds = [probe["kind"] for probe in card["probes"]]
    assert kinds.count("best-of-n") == 3 and "policy" in kinds
    assert card["probes"][0]["kl"] == 0 and card["probes"][0]["gold"] == 0
    assert card["data"]["policy"] == str(run / "sft") and len(card["weights"]) == 64
    assert (run / "reward_model" / "report_card.html").is_file()


def test_the_same_command_gives_the_same_figures(run: Path) -> None:
    first = card_of(run)
    judge(run / "reward_model", *EASY)
    again = card_of(run)
    assert {**again, "command": ""} == {**first, "command": ""}


def test_a_failed_check_is_told_and_ends_with_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with pytest.raises(SystemExit) as end:
        judge(copy, *EASY, "--limit.accuracy", "1.5", "--slice-by", "annotator", "harmful")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert end.value.code == 1
    assert "FAILED: accuracy" in shown and "leads to: the policy is paid for what people did not ask for" in shown
    assert list(card_of(copy)["slices"]) == ["problem", "harmful", "annotator"]


def test_other_people_s_preferences_need_no_policy_and_know_no_gold(run: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"p{n % 9}", "chosen": f"yes {n}", "rejected": f"no {n}", "shop": "ab"[n % 2]} for n in range(30)
    ]
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    alone = shutil.copytree(run / "reward_model", tmp_path / "alone" / "judge")
    with pytest.raises(SystemExit):
        judge(alone, "--preferences", str(data), "--slice-by", "shop", "--limit.accuracy", "0.9")
    card = json.loads((alone / "report_card.json").read_text())
    assert card["best_of_n"] is None and card["probes"] == [] and card["ceiling"] is None
    assert [part["name"] for part in card["slices"]["shop"]] == ["a", "b"]
    assert outcome(card, "best of n") == "not measured" == outcome(card, "far from the policy")
    judge(run, *EASY, "--preferences", str(data))
    card = card_of(run)
    assert card["best_of_n"]["points"][0]["gold"] is None and card["probes"][0]["agreement"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none", "none/reward_model: not there yet; make it with: textrl reward-model --run-dir none"),
        ("RUN --n 2", "n must be at least 4, got 2"),
        ("RUN --preferences none.jsonl", "none.jsonl: no such file"),
        (
            "RUN --slice-by planet",
            "no column 'planet' to slice by (found: 'prompt', 'chosen', 'rejected', 'ranking', 'anno",
        ),
        ("RUN --policy none", "none: no such folder; expected a folder with config.json"),
        ("RUN --policies none", "none: no such folder; expected a folder with config.json"),
        ("RUN --max-new-tokens 500", "max_new_tokens 500 leaves no room for a prompt"),
    ],
)
def test_bad_input_is_one_line(
    arguments: str,
    message: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["report", "rm", *arguments.replace("RUN", str(run)).split()])
    shown = capsys.readouterr().err
    assert end.value.code == 2 and message in shown and shown.count("\n") == 1


def test_ppo_refuses_what_failed_unless_told_otherwise_or_the_weights_are_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(run, tmp_path / "run"))
    judge_folder = run / "reward_model"
    main(["ppo", "--run-dir", str(run), *PPO.split()])
    card = card_of(run)
    for check in card["checks"][:2]:
        check["outcome"] = "failed"
    (judge_folder / "report_card.json").write_text(json.dumps(card))
    capsys.readouterr()
    for command in ("ppo", "train"):
        with pytest.raises(SystemExit) as end:
            main([command, "--run-dir", str(run), *PPO.split()])
        shown = capsys.readouterr().err
        assert end.value.code == 2 and shown.count("\n") == 1
        assert "failed its report card (accuracy, slices; see" in shown and "--allow-failed-reward-model" in shown
    main(["ppo", "--run-dir", str(run), "--allow-failed-reward-model", *PPO.split()])
    weights = load_file(judge_folder / "model.safetensors")
    save_file(
        {name: value + 1e-3 for name, value in weights.items()}, judge_folder / "model.safetensors", {"format": "pt"}
    )
    main(["ppo", "--run-dir", str(run), *PPO.split()])
    (judge_folder / "report_card.json").write_text("{}")
    with pytest.raises(SystemExit):
        main(["ppo", "--run-dir", str(run), *PPO.split()])
    assert "not a report card" in capsys.readouterr().err
