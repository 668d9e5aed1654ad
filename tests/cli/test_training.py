"""`textrl train` and `textrl dpo` beside `textrl ppo`: a folder each, with the KL charged where it was asked for."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, GenerationConfig

from textrl_env.cli import main
from textrl_env.pipeline.algorithms import CLASSES

TINY = "--n-prompts 40 --n-updates 2 --n-episodes 8 --batch-size 8 --max-new-tokens 12"


@pytest.fixture
def own_run(run_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny quickstart's first three stages."""
    for name in ("sft", "reward_model", "preferences"):
        shutil.copytree(run_dir / name, tmp_path / name)
    return tmp_path


def logged(folder: Path, name: str) -> list[float]:
    with (folder / "progress.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.mark.parametrize("algorithm", CLASSES)
def test_every_algorithm_trains_in_a_run(algorithm: str, own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--algorithm", algorithm, "--run-dir", str(own_run), *TINY.split()])
    policy = own_run / algorithm / "policy"
    assert f"next: textrl evaluate --run-dir {own_run} --policy {policy}" in capsys.readouterr().out
    AutoModelForCausalLM.from_pretrained(policy)
    assert json.loads((own_run / algorithm / "metrics.json").read_text())["n_updates"] == 2
    assert not (own_run / "policy").exists() and not (own_run / "ppo").exists()


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
def test_the_kl_is_charged_in_one_place_and_measured_in_both(kl_in: str, own_run: Path) -> None:
    main(["train", "--algorithm", "grpo", "--run-dir", str(own_run), "--kl-in", kl_in, *TINY.split()])
    paid = logged(own_run / "grpo", "objective/non_score_reward")
    kl = logged(own_run / "grpo", "objective/kl")
    assert abs(kl[1]) > 1e-3
    assert paid[1] == pytest.approx(-0.1 * kl[1] if kl_in == "reward" else 0.0, abs=1e-5)


def test_dpo_writes_a_policy_that_can_be_evaluated(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["dpo", "--run-dir", str(own_run), "--n-steps", "2", "--batch-size", "4", "--loss", "ipo"])
    policy = own_run / "dpo" / "policy"
    assert f"--policy {policy}" in capsys.readouterr().out
    card = (policy / "README.md").read_text()
    assert "| Method | IPO |" in card and "rewards/accuracies" in card
    sampling = GenerationConfig.from_pretrained(policy)
    assert sampling.do_sample and sampling.top_k == 0 and sampling.max_new_tokens > 0
    metrics = json.loads((own_run / "dpo" / "metrics.json").read_text())
    assert {"loss", "rewards/chosen", "rewards/margins", "rewards/accuracies"} <= metrics.keys()
    main(["evaluate", "--run-dir", str(own_run), "--policy", str(policy), "--n-prompts", "4", "--max-new-tokens", "8"])
    shown = capsys.readouterr().out
    assert "the policy beats SFT" in shown and "PPO" not in shown and "textrl report" not in shown
    assert "win" in (own_run / "evaluation" / "metrics.json").read_text()


@pytest.mark.filterwarnings("default::UserWarning")
def test_prompts_that_do_not_belong_to_the_reward_model_are_said(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reward model of one's own preferences, and no prompts of one's own."""
    tiny = ["train", "--algorithm", "rloo", "--run-dir", str(own_run), *TINY.split(), "--n-updates", "1"]
    main(tiny)
    assert "support desk" not in capsys.readouterr().err
    manifest = own_run / "reward_model" / "manifest.json"
    written = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(written | {"config": written["config"] | {"preferences": "mine.jsonl"}}))
    main(tiny)
    assert "learnt from mine.jsonl, but the prompts are the support desk's; give yours with --prompts" in (
        capsys.readouterr().err
    )
    # Reward models read no columns, so one may have the name of another argument of reward functions.
    (own_run / "prompts.jsonl").write_text('{"prompt": "Hello", "completions": ["Hi"]}\n' * 8)
    main([*tiny, "--prompts", str(own_run / "prompts.jsonl")])
    assert "support desk" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "train --algorithm rloo --reward-model {run}/sft",
            "sft: holds a language model (LlamaForCausalLM), expected a",
        ),
        (
            "evaluate --policy {run}/sft --reward-model {run}/sft",
            "expected a reward model; make it with: textrl reward-model",
        ),
        ("evaluate --policy {run}/reward_model", "reward_model: holds a reward model"),
        ("train --algorithm rloo --policy {run}/reward_model", "expected a language model; make it with: textrl sft"),
        ("dpo --policy {run}/reward_model", "expected a language model"),
        ("evaluate --policy {run}/nothing", "no such folder"),
    ],
)
def test_a_model_of_the_other_kind_is_refused(
    command: str, message: str, own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers would load it, with a head that was never trained."""
    with pytest.raises(SystemExit) as end:
        main([*command.format(run=own_run).split(), "--run-dir", str(own_run)])
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_a_folder_with_a_policy_in_it_is_evaluated_at_its_own_length(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = own_run / "other" / "policy"
    shutil.copytree(own_run / "sft", policy)
    GenerationConfig(max_new_tokens=5).save_pretrained(policy)
    main(["evaluate", "--run-dir", str(own_run), "--policy", str(own_run / "other"), "--n-prompts", "4"])
    assert "KL to SFT 0.0 nats" in capsys.readouterr().out
    assert json.loads((own_run / "evaluation" / "metrics.json").read_text())["length_ppo"] <= 5
