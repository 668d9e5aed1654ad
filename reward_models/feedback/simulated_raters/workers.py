"""Simulated workers: a `SimulatedRater`, of noise and taste, with the habits laziness, fatigue and malice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import InputError, require_at_least, require_within
from textrl_env.reward_models.feedback.simulated_raters.population import SimulatedRater, Utility, sigmoid, word_counts

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Worker:
    """A rater at work."""

    rater: SimulatedRater
    """Noise, and bias towards longer texts."""
    laziness: float = 0.0
    """Probability that an answer is given without reading, in [0, 1]: every order is then equally likely."""
    fatigue: float = 0.0
    """Rate at which reading stops, per judgement given before, >= 0: 0.01 leaves 37 % of it after 100."""
    adversary: bool = False
    """Reads, and then states the reverse of what they think."""
    tie_margin: float = 0.0
    """A pair perceived to be closer than this, in units of utility, is called a tie; >= 0."""

    def __post_init__(self) -> None:
        require_within("[0, 1]", **{f"laziness of {self.rater.name!r}": self.laziness})
        require_at_least(0, fatigue=self.fatigue, tie_margin=self.tie_margin)

    def attention(self, n_done: int) -> float:
        """Returns the probability that the worker reads what comes after `n_done` judgements."""
        return float((1 - self.laziness) * np.exp(-self.fatigue * n_done))

    def judge(
        self, utility: FloatArray, words: FloatArray, n_done: int, rng: np.random.Generator
    ) -> tuple[list[int], bool]:
        """Ranks K completions.

        Args:
            utility: (K,).
            words: (K,) their lengths.
            n_done: judgements the worker gave before.
            rng: of attention and noise.

        Returns:
            K indices, best first, and whether it is a tie (of a pair only).
        """
        if rng.random() >= self.attention(n_done):
            return rng.permutation(len(utility)).tolist(), False
        noisy = self.rater.perceive(utility, words) + rng.gumbel(scale=self.rater.noise, size=utility.shape)
        order = np.argsort(noisy if self.adversary else -noisy, kind="stable")
        return order.tolist(), len(utility) == 2 and bool(abs(noisy[0] - noisy[1]) < self.tie_margin)

    def pair_probabilities(self, difference: float, *, n_done: int = 0) -> tuple[float, float, float]:
        """Computes the probabilities of "first", "tie", "second" for a difference, first minus second, as perceived.

        The difference of two Gumbel noises is logistic, so an attentive worker follows Rao & Kupper (1967):
        P(first) = sigmoid((difference - margin) / noise).
        """
        sign = -1.0 if self.adversary else 1.0
        margins = (side * difference - self.tie_margin for side in (sign, -sign))
        attentive = [float(sigmoid(np.array(margin / self.rater.noise))) for margin in margins]
        first, second = (self.attention(n_done) * p + (1 - self.attention(n_done)) / 2 for p in attentive)
        return first, 1 - first - second, second


def make_workers(
    n_honest: int, n_careless: int, n_adversarial: int, *, noise: float = 0.1, tie_margin: float = 0.0
) -> tuple[Worker, ...]:
    """Makes workers `honest-00` ..., `careless-00` ... who never read, and `adversarial-00` ..., all with one noise."""
    habits: dict[str, tuple[int, dict[str, Any]]] = {
        "honest": (n_honest, {}),
        "careless": (n_careless, {"laziness": 1.0}),
        "adversarial": (n_adversarial, {"adversary": True}),
    }
    return tuple(
        Worker(SimulatedRater(f"{kind}-{number:02d}", noise), tie_margin=tie_margin, **habit)
        for kind, (n, habit) in habits.items()
        for number in range(n)
    )


def collect_judgements(
    workers: Sequence[Worker],
    prompts: Sequence[str],
    completions: Sequence[Sequence[str]],
    utility: Utility,
    *,
    overlap: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Lets `overlap` different workers, who come in a random order, judge the completions of each prompt.

    Args:
        workers: with different names.
        prompts: B texts.
        completions: B lists of texts; one that occurs twice counts once, a prompt with fewer than two gives no row.
        utility: the worth that an unbiased worker sees.
        overlap: judgements per prompt, from 1 to the number of workers.
        rng: of who judges what, and of their noise.

    Returns:
        Rows `prompt`, `chosen`, `rejected`, `ranking`, `tie`, `annotator` and `created_at` (0, 1, 2, ... seconds), in
        the order of the work: prompt after prompt.
    """
    names = [worker.rater.name for worker in workers]
    if len(set(names)) < len(names) or not 1 <= overlap <= len(workers):
        raise InputError(f"{overlap} judgements a prompt need as many workers with different names, got {names}")
    n_done = [0] * len(workers)
    rows: list[dict[str, Any]] = []
    for prompt, candidates in zip(prompts, completions, strict=True):
        texts = list(dict.fromkeys(candidates))
        if len(texts) < 2:
            continue
        utilities = np.asarray(utility([prompt] * len(texts), texts), dtype=np.float64)
        words = word_counts(texts)
        for index in rng.choice(len(workers), size=overlap, replace=False).tolist():
            order, tie = workers[index].judge(utilities, words, n_done[index], rng)
            n_done[index] += 1
            ranking = [texts[i] for i in order]
            row = {"prompt": prompt, "chosen": ranking[0], "rejected": ranking[-1], "ranking": ranking}
            rows.append(row | {"tie": tie, "annotator": names[index], "created_at": float(len(rows))})
    return rows
