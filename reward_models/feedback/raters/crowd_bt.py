"""Crowd-BT: the quality of every completion and the reliability of every rater, estimated together.

Chen, Bennett, Collins-Thompson & Horvitz (WSDM 2013): rater k states the true outcome of a comparison with probability
eta_k and the opposite otherwise, and the true outcome follows Bradley and Terry (section 3 there):

    P(k prefers i to j) = eta_k sigmoid(s_i - s_j) + (1 - eta_k) sigmoid(s_j - s_i).

eta near 1 is a rater to trust, 1/2 one who does not look, near 0 one who says the opposite of what they see.

With three or five raters a prompt, the scores are hardly known, and where two raters disagree the most probable score
difference is 0: both may then be reliable, and a careless rater passes for a good one. So the scores are not set to
their most probable values but averaged over: a Markov chain draws all that is unknown from its posterior distribution.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textrl_env.errors import require_above, require_count
from textrl_env.reward_models.feedback.raters.votes import Votes
from textrl_env.reward_models.feedback.simulated_raters import sigmoid
from textrl_env.stats import percentile_interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class CrowdBT:
    """M draws from the posterior: `scores` (M, I), s of every item, and `reliability` (M, R), eta of every rater."""

    scores: NDArray[np.float32]
    reliability: FloatArray

    def interval(self, *, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Returns low and high ends of eta, (R,) each."""
        return percentile_interval(self.reliability, confidence=confidence)

    def preference(self, first: IntArray, second: IntArray) -> FloatArray:
        """Probability that the first item is truly preferred, the mean of sigmoid(s_i - s_j): (P,), (P,) -> (P,)."""
        total = np.zeros(len(first))
        for scores in self.scores:
            total += sigmoid((scores[first] - scores[second]).astype(np.float64))
        return total / len(self.scores)


def fit_crowd_bt(
    votes: Votes,
    *,
    rng: np.random.Generator,
    spread: float = 2.0,
    trust: tuple[float, float] = (4.0, 1.0),
    draws: int = 300,
    warm_up: int = 200,
) -> CrowdBT:
    """Draws scores and reliabilities from their posterior.

    The chain is random-walk Metropolis in blocks: the j-th item of every prompt at once, for all j, then every rater.

    Priors: s ~ normal(0, spread^2), eta ~ beta(trust). Votes count by their weight. A tie counts as half a vote for
    each side: it says something about the two items and nothing about its rater.

    Args:
        votes: on any number of prompts; what joins them is that the raters are the same.
        rng: the caller's generator.
        spread: standard deviation of the scores before any vote, > 0. With 2, a reliable rater orders two random
            items of a prompt as their scores do 83 % of the time.
        trust: prior answers per rater, (true, opposite), > 0 each. The likelihood stays the same if all scores change
            sign and every eta becomes 1 - eta; more true ones than opposite say which of the two is meant.
        draws: M, the sweeps that are kept.
        warm_up: the sweeps before them.
    """
    require_above(0, spread=spread, trust_true=trust[0], trust_opposite=trust[1])
    require_count(1, draws=draws, warm_up=warm_up)
    n_raters, n_items = len(votes.raters), len(votes.items)
    scores, eta = np.zeros(n_items), np.full(n_raters, trust[0] / sum(trust))
    blocks = [_Block.from_votes(votes, members) for members in _items_by_turn(votes)]
    strict = votes.vote != 0
    rater, weight = votes.rater[strict], votes.weight[strict]
    first, second, vote = votes.first[strict], votes.second[strict], votes.vote[strict]
    score_draws, eta_draws = np.empty((draws, n_items), np.float32), np.empty((draws, n_raters))
    for sweep in range(-warm_up, draws):
        # A step of a random size needs no tuning: some are right for what is known well, others for what is not.
        new_scores = scores + spread * 10 ** rng.uniform(-1.5, 0.5) * rng.standard_normal(n_items)
        for block in blocks:
            gain = block.gain(scores, new_scores, eta) + (scores**2 - new_scores**2) / (2 * spread**2)
            accept = block.is_member & (np.log(rng.random(n_items)) < gain)
            scores = np.where(accept, new_scores, scores)
        true = sigmoid(vote * (scores[first] - scores[second]))
        new_eta = _walk(eta, 10 ** rng.uniform(-1.5, 0.5) * rng.standard_normal(n_raters))
        surer = weight * np.log(_vote_probability(true, new_eta[rater]) / _vote_probability(true, eta[rater]))
        gain = np.bincount(rater, surer, n_raters).astype(np.float64)
        gain += trust[0] * np.log(new_eta / eta) + trust[1] * np.log((1 - new_eta) / (1 - eta))
        eta = np.where(np.log(rng.random(n_raters)) < gain, new_eta, eta)
        if sweep >= 0:
            score_draws[sweep], eta_draws[sweep] = scores, eta
    return CrowdBT(score_draws, eta_draws)


def _vote_probability(true: FloatArray, eta: FloatArray) -> FloatArray:
    """Probability of a vote, from that of its side being truly preferred and its rater's eta."""
    return eta * true + (1 - eta) * (1 - true)


def _walk(eta: FloatArray, step: FloatArray) -> FloatArray:
    """Moves eta by a step in log-odds, and keeps eta and 1 - eta above 0."""
    odds = np.log(eta) - np.log1p(-eta) + step
    return np.asarray(sigmoid(np.clip(odds, -30, 30)))


def _items_by_turn(votes: Votes) -> list[NDArray[np.bool_]]:
    """Masks (I,) of the first item of every prompt, the second, and so on: no two of one mask share a vote."""
    order = np.argsort(votes.prompt_of_item, kind="stable")
    sizes = np.bincount(votes.prompt_of_item)
    turn = np.empty(len(order), dtype=np.int64)
    turn[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return [turn == at for at in range(int(sizes.max()))]


@dataclass(frozen=True)
class _Block:
    """Items that share no vote, and the N' votes on them.

    Attributes:
        is_member: (I,) the items of the block.
        item: (N',) items of the block.
        rival: (N',) the items they stand against.
        vote: (N',) 1 for `item`, -1 for `rival`, 0 for a tie.
        rater: (N',) who voted.
        weight: (N',) of the votes.
    """

    is_member: NDArray[np.bool_]
    item: IntArray
    rival: IntArray
    vote: FloatArray
    rater: IntArray
    weight: FloatArray

    @classmethod
    def from_votes(cls, votes: Votes, is_member: NDArray[np.bool_]) -> "_Block":
        at_first, at_second = is_member[votes.first], is_member[votes.second]

        def join(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([first[at_first], second[at_second]])

        return cls(
            is_member=is_member,
            item=join(votes.first, votes.second),
            rival=join(votes.second, votes.first),
            vote=join(votes.vote, -votes.vote),
            rater=join(votes.rater, votes.rater),
            weight=join(votes.weight, votes.weight),
        )

    def gain(self, scores: FloatArray, new_scores: FloatArray, eta: FloatArray) -> FloatArray:
        """Rise of the log-likelihood when an item, and it alone, moves: (I,), (I,), (R,) -> (I,)."""
        old, new = (self._log_likelihood(at[self.item] - scores[self.rival], eta) for at in (scores, new_scores))
        return np.asarray(np.bincount(self.item, self.weight * (new - old), len(scores)), dtype=np.float64)

    def _log_likelihood(self, difference: FloatArray, eta: FloatArray) -> FloatArray:
        tie = self.vote == 0
        true = sigmoid(np.where(tie, difference, self.vote * difference))
        # Half a vote for each side, by a rater who is believed.
        of_tie = np.log(np.maximum(true * (1 - true), 1e-300)) / 2
        return np.where(tie, of_tie, np.log(_vote_probability(true, eta[self.rater])))
