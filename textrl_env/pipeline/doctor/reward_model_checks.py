"""Checks that a reward model's score of a text is the same every time, in every batch, and from the disk."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from textrl_env.checks import Finding, check, pass_or_fail
from textrl_env.data.text import pad_id
from textrl_env.pipeline.doctor.file_checks import end_and_padding, vocabularies_fit
from textrl_env.pipeline.doctor.setup import TrainingSetup
from textrl_env.reward_models import RewardModel

ABSENT = Finding("not applicable", "no reward model")


@check(
    "reward model can be loaded",
    consequence="an error, or a score picked from several labels",
    remedy="use a sequence classifier that was trained with num_labels=1",
    needs=(vocabularies_fit, end_and_padding),
)
def loads(setup: TrainingSetup) -> Finding:
    """The model loads as a classifier with one label, and every score is finite."""
    if setup.judge is None:
        return ABSENT
    scores = _score_alone(setup, setup.judge)
    is_finite = bool(np.isfinite(scores).all())
    return Finding(pass_or_fail(is_finite), f"{len(scores)} texts score {scores.min():.2f} to {scores.max():.2f}")


@check(
    "reward model scores without dropout",
    consequence="noise in the score, which the critic cannot explain",
    remedy="call model.eval(), and make every layer obey it",
    needs=(loads,),
)
def deterministic(setup: TrainingSetup) -> Finding:
    """Texts alone have the same score twice."""
    if setup.judge is None:
        return ABSENT
    first, second = (_score_alone(setup, setup.judge) for _ in range(2))
    return _compare(first, second, 0.0, "two passes")


@check(
    "reward model ignores padding and batch",
    consequence="a score that depends on the other texts of the batch, or is read at the padding",
    remedy="set the pad id of the model's configuration to the tokenizer's, and pad on the right",
    needs=(deterministic,),
)
def padding_and_batch(setup: TrainingSetup) -> Finding:
    """Texts in a ragged batch, as training scores them and as transformers alone would, score as without padding."""
    if setup.judge is None:
        return ABSENT
    alone = _score_alone(setup, setup.judge)
    for scores in (setup.judge.score(*setup.judge_texts), _score_with_padding(setup, setup.judge)):
        finding = _compare(alone, scores, setup.tolerance, "alone and in a batch")
        if finding.outcome == "failed":
            return finding
    return finding


@check(
    "reward model survives the disk",
    consequence="scores of a head that was never trained, since a head that is missing from the file is drawn anew",
    remedy="save with RewardModel.save_pretrained; a causal LM's folder is no reward model before it is trained",
    needs=(deterministic,),
)
def survives_disk(setup: TrainingSetup) -> Finding:
    """Scores are the same loaded again, and saved and loaded, where a missing head would come from another seed."""
    if setup.judge is None or setup.reward_model is None:
        return ABSENT
    scores = _score_alone(setup, setup.judge)
    findings = []
    with TemporaryDirectory() as folder:
        setup.judge.save_pretrained(folder)
        for name, path in (("its folder", setup.reward_model.folder), ("a saved copy", Path(folder))):
            copy = RewardModel.from_pretrained(path, dtype=setup.dtype, seed=1)
            findings.append(_compare(scores, _score_alone(setup, copy), 0.0, f"in memory and {name}"))
    passes = all(finding.outcome == "passed" for finding in findings)
    return Finding(pass_or_fail(passes), "; ".join(finding.message for finding in findings))


@torch.inference_mode()
def _score_alone(setup: TrainingSetup, judge: RewardModel) -> np.ndarray:
    """Returns scores of the setup's texts, each on its own without padding: (B,)."""
    sequences = [judge.encode(*pair) for pair in zip(*setup.judge_texts, strict=True)]
    return np.array([float(judge.model(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in sequences])


@torch.inference_mode()
def _score_with_padding(setup: TrainingSetup, judge: RewardModel) -> np.ndarray:
    """Returns scores by the model's own forward, padded on the right: (B,); NaN where it refuses."""
    sequences = [judge.encode(*pair) for pair in zip(*setup.judge_texts, strict=True)]
    width, fill = max(map(len, sequences)), pad_id(judge.tokenizer)
    ids = torch.tensor([ids + [fill] * (width - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sequences])
    try:
        scores: np.ndarray = judge.model(input_ids=ids, attention_mask=mask).logits[:, 0].float().numpy()
    except ValueError:
        # transformers refuses batches without a pad id.
        return np.full(len(sequences), np.nan)
    return scores


def _compare(first: np.ndarray, second: np.ndarray, tolerance: float, name: str) -> Finding:
    """Returns whether scores (B,) are equal up to a share of their size."""
    gap, bound = float(np.abs(first - second).max()), tolerance * max(1.0, float(np.abs(first).max()))
    return Finding(pass_or_fail(gap <= bound), f"{name}: scores differ by {gap:.1e} at most, {bound:.1e} allowed")
