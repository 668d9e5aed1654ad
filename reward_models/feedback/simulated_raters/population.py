"""Simulated raters: people who rank completions by a known utility, with noise and with a taste of their own.

They make preference data whose truth is known, so that a reward model's accuracy can be held against the best that
any predictor could reach on the same labels (`RaterPopulation.ceiling`).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import LARGEST_NUMBER, InputError, require_above, require_at_least, require_count, require_seed

FloatArray = NDArray[np.float64]


class Utility(Protocol):
    """A reward function: B texts and as many completions in, B finite floats out, in TRL's signature."""

    def __call__(self, prompts: list[str], completions: list[str], **columns: Any) -> Sequence[float]:
        """Scores B completions."""


@dataclass(frozen=True)
class SimulatedRater:
    """A rater of the Plackett-Luce family.

    The rater perceives `u + length_bias * words + noise * g` with g standard Gumbel, drawn anew for every completion
    that is ranked, and sorts by it. A pair is then ordered (a, b) with probability `sigmoid((u_a - u_b) / noise)`, u
    including the bias (Luce 1959, Plackett 1975, Yellott 1977).
    """

    name: str
    """The value of the column `annotator`."""
    noise: float
    """Scale of the Gumbel noise, in units of utility, > 0. Small is careful: 0.05 sees a difference of 0.1."""
    length_bias: float = 0.0
    """Utility per word of the completion; > 0 prefers longer ones, whatever they say."""

    def __post_init__(self) -> None:
        name = f" of rater {self.name!r}"
        require_above(0, **{f"noise{name}": self.noise})
        require_at_least(-LARGEST_NUMBER, **{f"length_bias{name}": self.length_bias})

    def perceive(self, utility: FloatArray, words: FloatArray) -> FloatArray:
        """Adds the bias to the utility, without noise; both arguments have one shape, and so has the sum."""
        return utility + self.length_bias * words

    def order(self, utility: FloatArray, words: FloatArray, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draws a Plackett-Luce order of K completions.

        Args:
            utility: (K,).
            words: (K,) their lengths.
            rng: of the noise.

        Returns:
            (K,) indices, best first.
        """
        noisy = self.perceive(utility, words) + rng.gumbel(scale=self.noise, size=utility.shape)
        return np.argsort(-noisy, kind="stable")


@dataclass(frozen=True)
class RaterPopulation:
    """Raters that share one utility; each prompt is ranked by one of them, drawn uniformly."""

    raters: tuple[SimulatedRater, ...]
    utility: Utility

    def __post_init__(self) -> None:
        object.__setattr__(self, "raters", tuple(self.raters))
        if not self.raters:
            raise InputError("a RaterPopulation needs at least one rater, got none")
        names = [rater.name for rater in self.raters]
        if len(set(names)) < len(names):
            raise InputError(f"raters need different names, got {names}")

    @classmethod
    def default(cls, utility: Utility, n_raters: int = 12, *, seed: int) -> "RaterPopulation":
        """Makes a population for a utility in [0, 1]: of four raters two are careful, one is noisy, one is biased.

        Noise: careful 0.1, noisy 0.25, biased 0.1, each times a factor in [0.8, 1.25] of the rater's own (log-uniform).
        Bias: 0.02 utility per word in [0.015, 0.025], so 10 more words look like 0.2 more utility.
        """
        require_count(1, n_raters=n_raters)
        rng = np.random.default_rng(require_seed(seed))
        kinds = (("careful", 0.1), ("noisy", 0.25), ("careful", 0.1), ("biased", 0.1))
        raters = []
        for number in range(n_raters):
            kind, noise = kinds[number % len(kinds)]
            noise *= float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
            bias = float(rng.uniform(0.015, 0.025)) if kind == "biased" else 0.0
            raters.append(SimulatedRater(f"{kind}-{number:02d}", noise, bias))
        return cls(tuple(raters), utility)

    def rank(
        self,
        prompts: Sequence[str],
        completions: Sequence[Sequence[str]],
        *,
        rng: np.random.Generator,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """Lets a random rater rank the completions of each prompt.

        Args:
            prompts: B texts.
            completions: B lists of texts; a text that occurs twice is ranked once.
            rng: draws the raters and their noise.
            columns: for the utility, B values each, by name.

        Returns:
            At most B rows (a prompt with fewer than two different completions gives none): `prompt`, `chosen` (best),
            `rejected` (worst), `ranking` (all, best first), `annotator` (the rater's name). TRL reads the first three.
        """
        if len(prompts) != len(completions):
            raise InputError(
                f"rank needs one list of completions per prompt, got {len(prompts)} and {len(completions)}"
            )
        for index, texts in enumerate(completions):
            if isinstance(texts, str):
                raise InputError(f"completions[{index}] must be a list of texts, got the text {texts!r}")
        distinct = [list(dict.fromkeys(texts)) for texts in completions]
        comparable = [index for index, texts in enumerate(distinct) if len(texts) > 1]
        owners = [index for index in comparable for _ in distinct[index]]
        utility = self._compute_utility(
            [prompts[index] for index in owners],
            [text for index in comparable for text in distinct[index]],
            {name: [values[index] for index in owners] for name, values in (columns or {}).items()},
        )
        rows: list[dict[str, Any]] = []
        start = 0
        for index in comparable:
            texts = distinct[index]
            rater = self.raters[int(rng.integers(len(self.raters)))]
            order = rater.order(utility[start : start + len(texts)], word_counts(texts), rng)
            ranking = [texts[i] for i in order]
            row = {"prompt": prompts[index], "chosen": ranking[0], "rejected": ranking[-1], "ranking": ranking}
            rows.append(row | {"annotator": rater.name})
            start += len(texts)
        return rows

    def preference_probability(self, prompt: str, a: str, b: str) -> float:
        """Returns the probability that a random rater prefers completion `a` to `b`."""
        return float(self.preference_probabilities([prompt], [a], [b])[0])

    def preference_probabilities(
        self,
        prompts: Sequence[str],
        a: Sequence[str],
        b: Sequence[str],
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> FloatArray:
        """Computes P(a preferred to b): the mean over raters of sigmoid((u_a - u_b) / noise), u including the bias.

        Exact for two completions ranked alone and, by Luce's axiom, for any pair inside a longer ranking.

        Args:
            prompts: B texts.
            a: B completions.
            b: B completions to hold against them.
            columns: for the utility, B values each, by name.

        Returns:
            (B,) probabilities.
        """
        if not len(prompts) == len(a) == len(b):
            raise InputError(f"prompts, a and b must have one length, got {len(prompts)}, {len(a)} and {len(b)}")
        u_a, u_b = (self._compute_utility(prompts, texts, columns or {}) for texts in (a, b))
        words_a, words_b = word_counts(a), word_counts(b)
        per_rater = [
            sigmoid((rater.perceive(u_a, words_a) - rater.perceive(u_b, words_b)) / rater.noise)
            for rater in self.raters
        ]
        return np.asarray(np.mean(per_rater, axis=0), dtype=np.float64)

    def ceiling(self, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = ()) -> float:
        """Computes the pairwise accuracy that the best possible predictor of this population's labels can expect.

        Mean of max(p, 1 - p) over all pairs of completions in the rankings, p the probability that a random rater
        prefers one to the other. The predictor knows the texts, not the rater. It holds for *all* pairs of a ranking:
        `chosen` / `rejected` of three or more completions are its extremes and easier to tell apart.

        Args:
            rows: as `rank` returns; without `ranking`, `chosen` and `rejected` are the only pair.
            columns: names of row keys that the utility needs.
        """
        if not rows:
            raise InputError("ceiling needs at least one row, got none")
        pairs = [
            (row, a, b)
            for row in rows
            for a, b in itertools.combinations(row.get("ranking") or (row["chosen"], row["rejected"]), 2)
        ]
        p = self.preference_probabilities(
            [row["prompt"] for row, _, _ in pairs],
            [a for _, a, _ in pairs],
            [b for _, _, b in pairs],
            columns={name: [row[name] for row, _, _ in pairs] for name in columns},
        )
        return float(np.maximum(p, 1.0 - p).mean())

    def _compute_utility(
        self, prompts: Sequence[str], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> FloatArray:
        if not len(prompts):
            return np.zeros(0)
        values = np.asarray(self.utility(list(prompts), list(completions), **columns), dtype=np.float64)
        if values.shape != (len(prompts),):
            raise InputError(f"the utility must return {len(prompts)} floats, one per completion, got {values.shape}")
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"the utility must be finite, got {values[bad]} for prompt {prompts[bad]!r}, "
                f"completion {completions[bad]!r}"
            )
        return values


def word_counts(texts: Sequence[str]) -> FloatArray:
    """Counts the words (separated by white space) of B texts: (B,)."""
    return np.array([len(text.split()) for text in texts], dtype=np.float64)


def sigmoid(x: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow for large negative x."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))
