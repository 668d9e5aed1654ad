"""An exported policy works in transformers from its folder, and samples there as it did in training."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from textrl_env.agents import small_llama, train_tokenizer
from textrl_env.agents.policy import ModelCard, export_policy

CARD = ModelCard(
    method="PPO",
    base="runs/sft",
    data="prompts|of mine.jsonl",
    seed=3,
    command="textrl ppo --seed 3",
    reward="a reward model",
    kl="0.1 per nat",
    metrics={"score": 1.25, "kl": 3.0},
)
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    tokenizer = train_tokenizer(["hello world"], vocab_size=300)
    tokenizer.chat_template = TEMPLATE
    return small_llama(tokenizer, hidden_size=16, context=32), tokenizer


def test_the_folder_is_a_model_a_tokenizer_and_a_way_of_sampling(parts: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = parts
    export_policy(tmp_path, model, tokenizer, CARD, max_new_tokens=5)
    loaded, reloaded = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert all(torch.equal(*pair) for pair in zip(loaded.parameters(), model.parameters(), strict=True))
    inputs = reloaded("hello", return_tensors="pt", return_token_type_ids=False)
    assert inputs["input_ids"][0].tolist() == tokenizer("hello")["input_ids"]
    messages = [{"role": "user", "content": "hello"}]
    assert reloaded.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) == "[user]hello[a]"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        written = loaded.generate(**inputs, num_return_sequences=400)[:, inputs["input_ids"].shape[1] :]
    assert written.shape[1] == 5
    for row in written.tolist():
        after = row[row.index(tokenizer.eos_token_id) + 1 :] if tokenizer.eos_token_id in row else []
        assert set(after) <= {tokenizer.pad_token_id}
    # transformers' own default would draw from the likeliest 50 tokens.
    logits = model(inputs["input_ids"]).logits[0, -1].detach()
    share = torch.softmax(logits, -1).topk(50).values.sum()
    outside = 1 - torch.isin(written[:, 0], logits.topk(50).indices).float().mean()
    assert share < 0.9 and outside == pytest.approx(1 - float(share), abs=0.1)


def test_the_temperature_of_training_is_that_of_generate(parts: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = parts
    export_policy(tmp_path, model, tokenizer, CARD, max_new_tokens=4, temperature=1e-3)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([tokenizer("hello")["input_ids"]])
    with torch.random.fork_rng():
        cold = loaded.generate(ids, attention_mask=torch.ones_like(ids))
        assert torch.equal(cold, loaded.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False))


def test_the_card_tells_where_the_model_comes_from(parts: tuple[Any, Any], tmp_path: Path) -> None:
    export_policy(tmp_path, *parts, CARD, max_new_tokens=5)
    _, front, text = (tmp_path / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["textrl-env", "ppo", "reinforcement-learning"],
    }
    for fact in (
        "| Data | prompts\\|of mine.jsonl |",
        "| Reward | a reward model |",
        "| KL | 0.1 per nat |",
        "| Seed | 3 |",
        "| score | 1.25 |",
        "textrl ppo --seed 3",
    ):
        assert fact in text
    sft = ModelCard(method="SFT", base="random weights", data="d.jsonl", seed=0, command="textrl sft").text()
    assert "reinforcement-learning" not in sft and "Reward" not in sft and "Measured" not in sft
