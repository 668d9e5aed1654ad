"""TRL trains on what the labelling desk exports, unchanged: its trainers, and its commands."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from textrl_env.agents import train_tokenizer
from textrl_env.reward_models import Preference, RewardModelConfig, write_preferences
from textrl_env.reward_models.feedback.desk import Desk, DeskConfig
from textrl_env.reward_models.feedback.exchange import export_preferences, export_rankings
from textrl_env.reward_models.feedback.store import Item, LabelTask, Store
from textrl_env.reward_models.training import compute_targets
from textrl_env.reward_models.training.losses import batch_loss

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
SETTINGS: dict[str, Any] = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "report_to": [],
    "save_strategy": "no",
    "use_cpu": True,
    "bf16": False,
    "logging_steps": 1,
    "disable_tqdm": True,
}


def labelled(path: Path, task: LabelTask, *, chat: bool) -> Path:
    """The export of eight items of a kind, answered by one person; quality is the number in the text."""
    store = Store(path / "labels.db")
    for number in range(8):
        text = f"Question {number}?"
        prompt: Any = [{"role": "user", "content": text}] if chat else text
        texts = [f" answer {quality} to {number}" for quality in range(4)]
        groups = {"pair": [texts[:2]], "ranking": [texts], "rating": [[each] for each in texts]}[task]
        store.add_items(Item(task, prompt, tuple(group)) for group in groups)
    desk = Desk(store, DeskConfig())
    while question := desk.question("ada"):
        quality = [int(text.split()[1]) for text in question.completions]
        ranks = [1 + sum(other > each for other in quality) for each in quality]
        said = {"rating": quality[0] + 1} if task == "rating" else {"ranks": ranks}
        asked = {"item": question.key.item, "round": question.key.round, "revision": question.revision}
        posted = {**asked, "kind": "label", "seconds": 1.0, "submission": question.key.item + str(question.key.round)}
        desk.save(desk.answer("ada", posted | said))
    (path / "data").mkdir()
    rows = export_rankings if task == "ranking" else export_preferences
    return write_preferences(path / "data" / "train.jsonl", rows(desk.log, store.items))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny causal LM with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["Question? answer to user: assistant: 0123456789"] * 20, vocab_size=280)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["pair", "ranking", "rating"])
def task(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("chat", [False, True], ids=["texts", "conversations"])
def test_trls_trainers_learn_from_the_export(task: LabelTask, chat: bool, model: Path, tmp_path: Path) -> None:
    path = labelled(tmp_path, task, chat=chat)
    dataset = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "chosen", "rejected", "annotator", "created_at"} <= set(dataset.column_names)
    assert len(dataset) == {"pair": 8, "ranking": 8, "rating": 48}[task]
    tokenizer = AutoTokenizer.from_pretrained(model)
    trainers: list[Any] = [
        DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model),
            processing_class=tokenizer,
            train_dataset=dataset,
            args=DPOConfig(output_dir=str(tmp_path / "dpo"), **SETTINGS),
        ),
        RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=1),
            processing_class=tokenizer,
            train_dataset=dataset,
            args=RewardConfig(output_dir=str(tmp_path / "reward"), **SETTINGS),
        ),
    ]
    for trainer in trainers:
        assert math.isfinite(trainer.train().training_loss) and trainer.state.global_step == 2
        assert len(trainer.train_dataset) == len(dataset), "no row was dropped"


@pytest.mark.parametrize("coefficient", [None, 0.1])
def test_the_loss_with_margins_and_centring_is_that_of_trls_reward_trainer(
    coefficient: float | None, model: Path, tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"Question {n}?", "chosen": f" answer {n}", "rejected": f" {n}", "margin": n / 4} for n in range(4)
    ]
    classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    settings = SETTINGS | {"per_device_train_batch_size": 4, "center_rewards_coefficient": coefficient}
    trainer: Any = RewardTrainer(
        model=classifier,
        processing_class=AutoTokenizer.from_pretrained(model),
        train_dataset=Dataset.from_list(rows),
        args=RewardConfig(output_dir=str(tmp_path), **settings),
    )
    inputs = next(iter(trainer.get_train_dataloader()))
    margins = inputs["margin"].tolist()
    assert sorted(margins) == [0, 0.25, 0.5, 0.75]
    with torch.no_grad():
        scores = classifier(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        theirs = float(trainer.compute_loss(classifier, dict(inputs)))
    preferences = [Preference("", ("better", "worse"), margin=margin) for margin in margins]
    config = RewardModelConfig(loss="pairs", center_rewards_coefficient=coefficient or 0.0)
    targets = compute_targets(preferences, config)
    batch = targets.batch(range(4), scores.device)
    ours = batch_loss(scores.view(2, 4).T.flatten(), batch, targets.thresholds, config)
    assert float(ours) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("command", ["dpo", "reward"])
def test_trls_commands_read_the_export(command: str, model: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path, "pair", chat=False).parent
    program = str(Path(sys.executable).with_name("trl"))
    options = [
        "--model_name_or_path",
        str(model),
        "--dataset_name",
        str(data),
        "--output_dir",
        str(tmp_path / "out"),
        "--max_steps",
        "1",
        "--per_device_train_batch_size",
        "2",
        "--report_to",
        "none",
        "--bf16",
        "False",
        "--use_cpu",
        "True",
        "--save_strategy",
        "no",
    ]
    done = subprocess.run([program, command, *options], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (tmp_path / "out" / "model.safetensors").is_file()
