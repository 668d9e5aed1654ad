"""Evaluation on held-out prompts: what it logs is so, and training does not notice it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from textrl_env import InputError
from textrl_env.agents.callbacks import EvaluateOnPrompts, LogSamples
from textrl_env.agents.callbacks.samples import markdown_table

HELDOUT = ["bb", "cda", "e", "abc", "ge", "f"]


def shorter(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    return [-float(len(text)) for text in completions]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_training_is_the_same_with_and_without_it(make_ppo: Any) -> None:
    def trained(callback: Any) -> list[torch.Tensor]:
        ppo = make_ppo(env={"banned_tokens": [2]}).learn(total_updates=3, callback=callback)
        return [parameter.detach() for parameter in ppo.policy.parameters()]

    plain, evaluated = trained(None), trained([EvaluateOnPrompts(HELDOUT, every_updates=1), LogSamples(1)])
    assert all(torch.equal(one, other) for one, other in zip(plain, evaluated, strict=True))


def test_it_logs_the_means_of_what_the_policy_writes(make_ppo: Any, exact_logprobs: Any, tmp_path: Path) -> None:
    """Six prompts in four slots, so in two parts; the KL is recomputed in float64, one text at a time."""
    ppo = make_ppo(log_dir=tmp_path, learning_rate=1e-2, env={"banned_tokens": [2], "min_new_tokens": 1})
    ppo.learn(total_updates=2, callback=EvaluateOnPrompts(HELDOUT, {"shorter": shorter}, every_updates=2, n_samples=6))
    logged = [row for row in rows(tmp_path / "progress.jsonl") if "eval/score" in row]
    samples = rows(tmp_path / "samples.jsonl")
    assert [row["n_updates"] for row in samples] == [0] * 6 + [2] * 6
    assert [row["time/iterations"] for row in logged] == [1, 2]
    now, reference = samples[6:], exact_logprobs(ppo.env.task.reference.model)
    assert [row["prompt"] for row in now] == HELDOUT
    texts = [row["completion"] for row in now]
    assert not any("b" in text for text in texts) and all(texts) and len(set(texts)) > 1
    assert logged[-1]["eval/shorter"] == pytest.approx(-np.mean([len(text) for text in texts]))
    assert logged[-1]["eval/score"] == pytest.approx(np.mean([text.count("a") - 0.3 * len(text) for text in texts]))
    objective = logged[-1]["eval/score"] - 0.1 * logged[-1]["eval/kl"]
    assert logged[-1]["eval/rlhf_reward"] == pytest.approx(objective)
    letters = ppo.env.task.tokenizer
    policy = exact_logprobs(ppo.policy.policy)
    for row in now:
        prompt, ids = letters.encode(row["prompt"]), letters.encode(row["completion"])
        ids = ids if len(ids) == 6 else [*ids, 0]
        at = range(len(prompt) - 1, len(prompt) + len(ids) - 1)
        ours, theirs = (logprobs(prompt + ids) for logprobs in (policy, reference))
        for step, (position, token) in enumerate(zip(at, ids, strict=True)):
            # Both renormalise over what may be chosen: not b, and no end before the first token.
            banned = [2, 0] if step == 0 else [2]
            for logprobs in (ours, theirs):
                logprobs[position] -= np.log(1 - np.exp(logprobs[position, banned]).sum())
            row["kl"] -= ours[position, token] - theirs[position, token]
        assert row["kl"] == pytest.approx(0, abs=1e-4)


def test_one_policy_gets_one_evaluation_and_another_a_different_one(make_ppo: Any, tmp_path: Path) -> None:
    """A learning rate of almost nothing leaves the policy as it is: every evaluation reads the same."""
    for rate, same in ((1e-12, True), (3e-2, False)):
        log = tmp_path / str(rate)
        ppo = make_ppo(log_dir=log, learning_rate=rate)
        ppo.learn(total_updates=3, callback=EvaluateOnPrompts(HELDOUT, every_updates=1, n_samples=6))
        texts = [row["completion"] for row in rows(log / "samples.jsonl")]
        assert len(texts) == 24
        assert all(texts[i : i + 6] == texts[:6] for i in range(0, 24, 6)) is same


def test_a_run_that_is_stopped_inside_a_rollout_ends_without_an_evaluation(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo(log_dir=tmp_path)
    judged = EvaluateOnPrompts(HELDOUT, every_updates=1)
    ppo.learn(total_updates=9, callback=[judged], should_stop=lambda: ppo.n_updates == 1)
    assert [row["n_updates"] for row in rows(tmp_path / "samples.jsonl")] == [0] * 4
    assert len(rows(tmp_path / "progress.jsonl")) == 1


def test_samples_are_tables_for_tensorboard_and_rows_for_programs(make_ppo: Any, tmp_path: Path) -> None:
    ppo = make_ppo(log_dir=tmp_path)
    ppo.learn(total_updates=3, callback=LogSamples(every_updates=2, n=3))
    written = rows(tmp_path / "samples.jsonl")
    assert [row["n_updates"] for row in written] == [0] * 3 + [2] * 3
    for row in written:
        expected = row["completion"].count("a") - 0.3 * len(row["completion"])
        assert row["score"] == pytest.approx(expected, abs=1e-5)
    make_ppo(log_dir=tmp_path).learn(total_updates=1, callback=LogSamples(n=3))
    assert len(rows(tmp_path / "samples.jsonl")) == 3, "a new run begins a new file"
    assert not any("samples" in key for row in rows(tmp_path / "progress.jsonl") for key in row)
    events = EventAccumulator(str(tmp_path)).Reload()
    shown = events.Tensors("rollout/samples/text_summary")
    table = shown[1].tensor_proto.string_val[0].decode()
    assert all(f"| {row['prompt']} | {row['completion']} |" in table for row in written[3:])


def test_a_completion_cannot_break_out_of_its_cell() -> None:
    table = markdown_table([{"completion": "a|b\n<script>&amp;", "score": 1.0}])
    assert table.splitlines()[2] == "| a&#124;b ↵ &lt;script>&amp;amp; | 1.000 |" and table.count("\n") == 2


def test_impossible_options_are_named(make_ppo: Any) -> None:
    with pytest.raises(InputError, match="the name 'score' is taken"):
        make_ppo().learn(total_updates=1, callback=EvaluateOnPrompts(HELDOUT, {"score": shorter}))
    with pytest.raises(InputError, match="every_updates must be at least 1, got 0"):
        EvaluateOnPrompts(HELDOUT, every_updates=0)
    with pytest.raises(InputError, match="n must be at least 1, got 0"):
        LogSamples(n=0)
