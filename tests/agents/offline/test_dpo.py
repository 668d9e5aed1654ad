"""DPO on preferences whose law is known recovers the exact optimum; its numbers are those of single sequences."""

import copy
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import InputError
from textrl_env.agents import DPOConfig, KTOConfig, small_llama, train_dpo, train_kto
from textrl_env.worlds import EnumerableWorld, LetterTokenizer, OptimumGap

ROWS = [
    {"prompt": "abc", "chosen": "de", "rejected": "g"},
    {"prompt": "f", "chosen": "gab", "rejected": ""},
    {"prompt": "gfedc", "chosen": "", "rejected": "abcdef", "soft_label": 0.7},
]


def all_pairs(world: EnumerableWorld) -> list[dict[str, Any]]:
    """Every pair of completions, with the Bradley-Terry probability that the world's scores give."""
    letters = [chr(ord("a") + index) for index in range(world.vocab_size - 1)]
    texts = [""]
    for _ in range(world.horizon):
        texts += [text + letter for text in texts for letter in letters if text + letter not in texts]
    rows = []
    for prompt in world.prompts:
        for one, other in combinations(texts, 2):
            difference = np.subtract(*world.reward([prompt] * 2, [one, other]))
            probability = float(1 / (1 + np.exp(-difference)))
            rows.append({"prompt": prompt, "chosen": one, "rejected": other, "soft_label": probability})
    return rows


def config(**options: Any) -> DPOConfig:
    return DPOConfig(**{"n_steps": 300, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 0.0} | options)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_true_probabilities_of_all_pairs_give_the_optimum(beta: float) -> None:
    world = EnumerableWorld(vocab_size=4, horizon=2, n_prompts=2)
    model = small_llama(world.tokenizer, hidden_size=32, context=8)
    reference = copy.deepcopy(model)
    gap = OptimumGap(world, reference, coef=beta)
    rows = all_pairs(world)
    assert len(rows) == 2 * 13 * 12 / 2
    train_dpo(model, world.tokenizer, rows, config(beta=beta, max_new_tokens=2))
    after = gap.measure(model)
    # J* - J = β KL(π ‖ π*): the distance to the optimum in nats.
    assert after.best - after.reference > 0.05
    assert (after.best - after.policy) / beta < 2e-3
    assert after.fraction > 0.99


def test_numbers_are_those_of_single_sequences_and_start_at_the_reference(
    model: Any, exact_logprobs: Any, tmp_path: Path
) -> None:
    tokenizer, before = LetterTokenizer(8), exact_logprobs(model)

    def logprob(of: Any, prompt: str, text: str) -> float:
        ids = [*tokenizer.encode(prompt + text), 0]
        logprobs = of(ids)
        return float(sum(logprobs[place - 1, ids[place]] for place in range(len(prompt), len(ids))))

    numbers = train_dpo(
        model,
        tokenizer,
        ROWS,
        config(n_steps=20, batch_size=2, beta=0.2, label_smoothing=0.1),
        heldout=ROWS,
        log_dir=tmp_path,
    )
    after, losses, chosen, margins = exact_logprobs(model), [], [], []
    for row in ROWS:
        ratios = [
            logprob(after, row["prompt"], row[side]) - logprob(before, row["prompt"], row[side])  # type: ignore[arg-type]
            for side in ("chosen", "rejected")
        ]
        margin, p = 0.2 * (ratios[0] - ratios[1]), float(row.get("soft_label", 1.0))
        p = 0.9 * p + 0.1 * (1 - p)
        losses.append(p * np.log1p(np.exp(-margin)) + (1 - p) * np.log1p(np.exp(margin)))
        chosen.append(0.2 * ratios[0])
        margins.append(margin)
    assert numbers["loss"] == pytest.approx(np.mean(losses), abs=1e-4)
    assert numbers["rewards/chosen"] == pytest.approx(np.mean(chosen), abs=1e-4)
    assert numbers["rewards/margins"] == pytest.approx(np.mean(margins), abs=1e-4)
    assert numbers["rewards/accuracies"] == np.mean(np.array(margins) > 0)
    first, *_, last = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-4)
    assert abs(first["rewards/chosen"]) < 1e-5 and abs(first["rewards/margins"]) < 1e-5
    assert last["heldout/loss"] == pytest.approx(numbers["loss"])


def test_another_reference_is_the_one_that_is_held_to(make_model: Any) -> None:
    other = make_model("gpt2", seed=5)
    kept = copy.deepcopy(other.state_dict())
    numbers = train_dpo(make_model("gpt2"), LetterTokenizer(8), ROWS, config(n_steps=1, batch_size=3), reference=other)
    assert abs(numbers["rewards/chosen"]) > 0.01
    assert all(torch.equal(value, kept[name]) for name, value in other.state_dict().items())


def test_a_padded_vocabulary_gets_no_probability(make_model: Any) -> None:
    """A model of 12 tokens with a tokenizer of 8: the loss must not see the other four."""
    model = make_model("llama", vocab_size=12)
    with torch.no_grad():
        model.lm_head.weight[8:] = 0.0
    wide = copy.deepcopy(model)
    with torch.no_grad():
        wide.lm_head.weight[8:] = 50.0
    numbers = [train_dpo(one, LetterTokenizer(8), ROWS, config(n_steps=2), heldout=ROWS) for one in (model, wide)]
    assert numbers[0] == pytest.approx(numbers[1])


def test_kto_pulls_desirable_and_undesirable_apart(make_model: Any, tmp_path: Path) -> None:
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for row in ROWS
        for side in ("chosen", "rejected")
    ]
    options = KTOConfig(n_steps=60, batch_size=6, learning_rate=3e-3)
    numbers = train_kto(make_model("gpt2"), LetterTokenizer(8), rows, options, log_dir=tmp_path)
    first = json.loads((tmp_path / "progress.jsonl").read_text().splitlines()[0])
    # At the reference every value is half its weight, and no policy is away from itself.
    assert first["loss"] == pytest.approx(0.5, abs=1e-5) and abs(first["kl"]) < 1e-5
    assert numbers["rewards/chosen"] > 0.05 > -0.05 > numbers["rewards/rejected"]
    assert numbers["loss"] < 0.45


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no preferences"),
        (
            [ROWS[0] | {"soft_label": 1.5, "where": "f.jsonl:7"}],
            "f.jsonl:7: 'soft_label' must be a number in .* got 1.5",
        ),
        ([ROWS[0] | {"rejected": "a" * 70}], "preference 0: 74 tokens, the model's context is 64"),
    ],
)
def test_bad_rows_are_named(make_model: Any, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_dpo(make_model("gpt2"), LetterTokenizer(8), rows, config())


def test_bad_verdicts_are_named(make_model: Any) -> None:
    row = {"prompt": "a", "completion": "b", "label": True}
    for rows, message in (
        ([row], "needs two rows or more, got 1"),
        ([row, row | {"label": "good"}], "verdict 1: 'label'"),
    ):
        with pytest.raises(InputError, match=message):
            train_kto(make_model("gpt2"), LetterTokenizer(8), rows, KTOConfig())


@pytest.mark.parametrize(
    "option", [{"beta": 0.0}, {"loss": "hinge"}, {"label_smoothing": 0.5}, {"max_new_tokens": 0}, {"n_steps": 0}]
)
def test_an_impossible_option_is_named(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        DPOConfig(**option)
