"""Is a text's score its own: the same every time, in every batch, and from the disk?"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from textrl_env.cli.doctor.case import Case
from textrl_env.cli.doctor.check import Finding, check
from textrl_env.cli.doctor.token_checks import end_and_padding, vocabularies_fit
from textrl_env.data.text import pad_id
from textrl_env.reward_models import RewardModel

ABSENT = Finding(None, "no reward model")


@check(
    "reward model can be loaded",
    prevents="an error, or a score picked from several labels",
    remedy="use a sequence classifier that was trained with num_labels=1",
    needs=(vocabularies_fit, end_and_padding),
)
def loads(case: Case) -> Finding:
    """As a classifier with one label, every score finite."""
    if case.judge is None:
        return ABSENT
    scores = _alone(case, case.judge)
    return Finding(
        bool(np.isfinite(scores).all()), f"{len(scores)} texts score {scores.min():.2f} to {scores.max():.2f}"
    )


@check(
    "reward model scores without dropout",
    prevents="noise in the score, which the critic cannot explain",
    remedy="call model.eval(), and make every layer obey it",
    needs=(loads,),
)
def deterministic(case: Case) -> Finding:
    """Each text alone, scored twice."""
    if case.judge is None:
        return ABSENT
    first, second = (_alone(case, case.judge) for _ in range(2))
    return _equal(first, second, 0.0, "two passes")


@check(
    "reward model ignores padding and batch",
    prevents="a score that depends on the other texts of the batch, or is read at the padding",
    remedy="set the pad id of the model's configuration to the tokenizer's, and pad on the right",
    needs=(deterministic,),
)
def padding_and_batch(case: Case) -> Finding:
    """Texts in a ragged batch, as training scores them and as transformers alone would, and each without padding."""
    if case.judge is None:
        return ABSENT
    alone = _alone(case, case.judge)
    for batched in (case.judge.score(*case.judged), _padded(case, case.judge)):
        finding = _equal(alone, batched, case.tolerance, "alone and in a batch")
        if not finding.passed:
            return finding
    return finding


@check(
    "reward model survives the disk",
    prevents="scores of a head that was never trained, since a head that is missing from the file is drawn anew",
    remedy="save with RewardModel.save_pretrained; a causal LM's folder is no reward model before it is trained",
    needs=(deterministic,),
)
def saved_and_loaded(case: Case) -> Finding:
    """Scores as loaded, loaded again and saved and loaded, where a missing head would come from another seed."""
    if case.judge is None or case.reward_model is None:
        return ABSENT
    with TemporaryDirectory() as folder:
        case.judge.save_pretrained(folder)
        told, passed = [], True
        for name, path in (("its folder", case.reward_model.folder), ("a saved copy", Path(folder))):
            loaded = RewardModel.from_pretrained(path, dtype=case.dtype, seed=1)
            finding = _equal(_alone(case, case.judge), _alone(case, loaded), 0.0, f"in memory and {name}")
            passed &= bool(finding.passed)
            told.append(finding.measured)
    return Finding(passed, "; ".join(told))


@torch.inference_mode()
def _alone(case: Case, judge: RewardModel) -> np.ndarray:
    """Scores of the case's texts, each on its own without padding: (B,)."""
    sequences = [judge.encode(*pair) for pair in zip(*case.judged, strict=True)]
    return np.array([float(judge.model(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in sequences])


@torch.inference_mode()
def _padded(case: Case, judge: RewardModel) -> np.ndarray:
    """Scores of the case's texts by the model's own forward, padded on the right: (B,); NaN where it refuses."""
    sequences = [judge.encode(*pair) for pair in zip(*case.judged, strict=True)]
    width, fill = max(map(len, sequences)), pad_id(judge.tokenizer)
    ids = torch.tensor([ids + [fill] * (width - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sequences])
    try:
        scores: np.ndarray = judge.model(input_ids=ids, attention_mask=mask).logits[:, 0].float().numpy()
    except ValueError:
        # transformers refuses batches without a pad id.
        return np.full(len(sequences), np.nan)
    return scores


def _equal(first: np.ndarray, second: np.ndarray, tolerance: float, what: str) -> Finding:
    """Whether scores (B,) are equal up to a share of their size."""
    gap, allowed = float(np.abs(first - second).max()), tolerance * max(1.0, float(np.abs(first).max()))
    return Finding(gap <= allowed, f"{what}: scores differ by {gap:.1e} at most, {allowed:.1e} allowed")
