"""A reward model without a neural network: ridge regression on tf-idf of words and word pairs. numpy only.

The baseline that a learned reward model has to beat, and a check of the data: it takes seconds on one core, and when it
orders held-out pairs no better than chance the labels are wrong, not the network.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_TOKEN = re.compile(r"\w+(?:'\w+)?|[!?]|\.\.\.")


def text_features(text: str) -> set[str]:
    """Lower-case words, `!`, `?` and `...`, and the pairs of neighbours among them, each once."""
    tokens = _TOKEN.findall(text.lower())
    return {*tokens, *(f"{left} {right}" for left, right in pairwise(tokens))}


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix X (N, F) as its entries: X[rows[k], columns[k]] = values[k]."""

    rows: IntArray
    columns: IntArray
    values: FloatArray
    shape: tuple[int, int]

    def dot(self, w: FloatArray) -> FloatArray:
        """X w: (F,) to (N,)."""
        return np.asarray(
            np.bincount(self.rows, self.values * w[self.columns], minlength=self.shape[0]), dtype=np.float64
        )

    def transposed_dot(self, r: FloatArray) -> FloatArray:
        """X^T r: (N,) to (F,)."""
        return np.asarray(
            np.bincount(self.columns, self.values * r[self.rows], minlength=self.shape[1]), dtype=np.float64
        )


def solve_ridge(
    x: SparseRows, y: FloatArray, *, alpha: float, tolerance: float = 1e-8, max_iterations: int = 2_000
) -> tuple[FloatArray, float]:
    """Argmin over w, c of |X w + c - y|^2 + alpha |w|^2, with the intercept c not penalised.

    Conjugate gradients on (X_c^T X_c + alpha I) w = X_c^T y_c, where X_c = X - 1 mean(X)^T is never formed.

    Args:
        x: (N, F).
        y: (N,).
        alpha: > 0, strength of the penalty.
        tolerance: stop when the residual's norm is this part of the right-hand side's.

    Returns:
        w (F,) and c.
    """
    n = x.shape[0]
    centre = x.transposed_dot(np.ones(n)) / n
    target = y - y.mean()
    w = np.zeros(x.shape[1])
    residual = x.transposed_dot(target) - centre * target.sum()
    direction = residual.copy()
    squared = float(residual @ residual)
    goal = tolerance**2 * squared
    for _ in range(max_iterations):
        if squared <= goal:
            break
        # Centring on one side is enough: X_c^T X_c = X_c^T X.
        image = x.dot(direction)
        product = x.transposed_dot(image) - centre * image.sum() + alpha * direction
        step = squared / float(direction @ product)
        w += step * direction
        residual -= step * product
        previous, squared = squared, float(residual @ residual)
        direction = residual + (squared / previous) * direction
    else:
        if squared > goal:
            raise InputError(f"ridge did not converge in {max_iterations} iterations; use a larger alpha than {alpha}")
    return w, float(y.mean() - centre @ w)


class BagOfWordsRidge:
    """Text in, score out: `BagOfWordsRidge(alpha=3.0).fit(texts, scores).predict(texts)`.

    Features are 0/1 counts of `text_features` times idf = ln((1 + N) / (1 + df)) + 1, each text's vector scaled to
    length 1. What was not seen in at least `min_texts` texts of the training set is ignored.
    """

    def __init__(self, alpha: float = 1.0, *, min_texts: int = 2) -> None:
        """Args:
        alpha: strength of the ridge penalty, > 0.
        min_texts: how many training texts must have a feature for it to count, >= 1.
        """
        if not 0 < alpha < math.inf:
            raise InputError(f"alpha must be > 0 and finite, got {alpha}")
        if min_texts < 1:
            raise InputError(f"min_texts must be >= 1, got {min_texts}")
        self.alpha = alpha
        self.min_texts = min_texts
        self._index: dict[str, int] | None = None
        self._idf: FloatArray = np.zeros(0)
        self._weights: FloatArray = np.zeros(0)
        self._intercept = 0.0

    def fit(self, texts: Sequence[str], scores: Sequence[float]) -> "BagOfWordsRidge":
        """Learn from N texts and their N scores; forgets an earlier fit."""
        y = np.asarray(scores, dtype=np.float64)
        if isinstance(texts, str) or y.shape != (len(texts),) or len(texts) == 0:
            raise InputError(f"fit needs as many scores as texts, at least one, got {y.shape} and {len(texts)} texts")
        if not np.isfinite(y).all():
            raise InputError(f"score {int(np.argmin(np.isfinite(y)))} is not finite: {y[~np.isfinite(y)][0]}")
        features = [text_features(text) for text in texts]
        counts = Counter(feature for row in features for feature in row)
        # Sorted: a set's order changes from run to run with Python's string hashing, and the rounding with it.
        kept = sorted(feature for feature, count in counts.items() if count >= self.min_texts)
        index = {feature: i for i, feature in enumerate(kept)}
        frequency = np.array([counts[feature] for feature in kept], dtype=np.float64)
        self._idf = np.log((1 + len(texts)) / (1 + frequency)) + 1
        self._weights, self._intercept = solve_ridge(self._vectors(features, index), y, alpha=self.alpha)
        self._index = index
        return self

    def predict(self, texts: Sequence[str]) -> FloatArray:
        """Scores (N,); a text without any known feature gets the intercept."""
        if self._index is None:
            raise InputError("BagOfWordsRidge: call fit(texts, scores) before predict")
        if isinstance(texts, str):
            raise InputError("predict takes a sequence of texts, got one string")
        rows = self._vectors([text_features(text) for text in texts], self._index)
        return rows.dot(self._weights) + self._intercept

    def strongest(self, n: int = 10) -> tuple[list[str], list[str]]:
        """The n features that raise the score most and the n that lower it most."""
        if self._index is None:
            raise InputError("BagOfWordsRidge: call fit(texts, scores) before strongest")
        names = list(self._index)
        effect = np.argsort(-self._weights * self._idf, kind="stable")
        return [names[i] for i in effect[:n]], [names[i] for i in effect[::-1][:n]]

    def _vectors(self, features: Sequence[set[str]], index: dict[str, int]) -> SparseRows:
        known = [sorted(index[feature] for feature in row if feature in index) for row in features]
        rows = np.repeat(np.arange(len(known)), [len(row) for row in known])
        columns = np.fromiter((column for row in known for column in row), dtype=np.int64, count=len(rows))
        values = self._idf[columns]
        norms = np.sqrt(np.bincount(rows, values**2, minlength=len(known)))
        return SparseRows(rows, columns, values / norms[rows], (len(known), len(index)))
