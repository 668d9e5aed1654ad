"""Rank correlation, partial correlation, regression and AUROC of values of texts, with plain numpy."""

import numpy as np

from textrl_env.reward_models.report_card.scores import Floats, Ints


def ranks(values: Floats) -> Floats:
    """Ranks from 1, equals share the mean of theirs: (N,) -> (N,)."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: Floats = (last - (counts - 1) / 2)[index]
    return means


def pearson(x: Floats, y: Floats) -> float:
    """Correlation of (N,) and (N,); NaN where one of them is constant."""
    x, y = x - x.mean(), y - y.mean()
    norm = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / norm) if norm > 1e-12 * max(1.0, len(x)) else float("nan")


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks."""
    return pearson(ranks(x), ranks(y))


def partial_spearman(x: Floats, y: Floats, controls: Floats) -> float:
    """Correlation of the ranks of x and y, (N,), once a regression on the ranks of controls, (N, F), is taken out."""
    columns = np.stack([ranks(column) for column in controls.T], axis=1) if controls.size else controls
    return pearson(residual(ranks(x), columns), residual(ranks(y), columns))


def residual(y: Floats, x: Floats) -> Floats:
    """Residual of a least-squares regression of y, (N,), on x, (N, F), and a constant: (N,).

    Rounding errors are set to 0, so that nothing can be read from their sign.
    """
    design = np.column_stack([np.ones(len(y)), x])
    rest: Floats = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return np.where(np.abs(rest) < 1e-9 * (y.std() or 1.0), 0.0, rest)


def centre_groups(values: Floats, group: Ints) -> Floats:
    """Subtracts the mean of each group: values (N,) or (N, F), groups (N,) whole numbers from 0."""
    counts = np.maximum(np.bincount(group), 1)
    columns = values.reshape(len(values), -1).T
    means = np.stack([np.bincount(group, column) / counts for column in columns], axis=1)
    result: Floats = values - means[group].reshape(values.shape)
    return result


def auroc(values: Floats, positive: Floats) -> float:
    """Chance that a random positive has a larger value than a random negative, equals count half; NaN without both.

    Computed by the rank sum (Hanley & McNeil 1982). values, positive: (N,), the latter 0 or 1.
    """
    n_positive = float(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = float(ranks(values) @ positive)
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
