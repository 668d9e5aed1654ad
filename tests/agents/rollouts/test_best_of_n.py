"""Best-of-n: it returns the best, its estimate is that of all subsets, and its KL stays below the bound."""

import math
from typing import Any

import numpy as np
import pytest

from textrl_env.agents import small_llama
from textrl_env.agents.rollouts import best_of_n
from textrl_env.oracle import PrefixTree, prefix_logprobs
from textrl_env.stats.comparison import best_of_n_kl
from textrl_env.worlds import EnumerableWorld, LetterTokenizer


def test_the_best_of_what_was_sampled_is_returned(make_model: Any) -> None:
    def reward(prompts: list[str], completions: list[str], finish_reason: list[str]) -> list[float]:
        ended = [reason == "eos" for reason in finish_reason]
        return [text.count("a") + 0.5 * end for text, end in zip(completions, ended, strict=True)]

    found = best_of_n(make_model("gpt2"), LetterTokenizer(8), ["ab", "c"], reward, n=16, max_new_tokens=5)
    for best in found:
        assert best.score == max(best.scores) > min(best.scores) and len(best.scores) == 16
        assert best.score == best.completion.text.count("a") + 0.5 * (best.completion.ids[-1] == 0)


def finished(tree: PrefixTree, log_policy: list[Any]) -> tuple[Any, Any]:
    """Probabilities and scores of all completions."""
    reach, probabilities, scores = np.ones(1), [], []
    for ends, paid, logprobs in zip(tree.ends, tree.scores, log_policy, strict=True):
        here = reach[:, None] * np.exp(logprobs)
        probabilities.append(here[ends])
        scores.append(paid[ends])
        reach = here[~ends]
    return np.concatenate(probabilities), np.concatenate(scores)


def test_the_kl_of_best_of_n_is_below_the_bound_and_near_it(make_model: Any) -> None:
    world = EnumerableWorld(vocab_size=6, horizon=4, n_prompts=1)
    (prompt,), tokenizer = world.prompts, world.tokenizer
    tree = world.tree(prompt)
    model = small_llama(tokenizer, hidden_size=32, context=8)
    log_policy = prefix_logprobs(model, np.array(tokenizer.encode(prompt)), tree, vocab_size=6)
    probability, score = finished(tree, log_policy)
    # Completions of the same pairs of neighbours score alike; among equals best-of-n chooses as the policy does.
    score, of = np.unique(score.round(9), return_inverse=True)
    probability = np.bincount(of, weights=probability)
    assert probability.sum() == pytest.approx(1, abs=1e-5) and len(score) > 700
    up_to = np.cumsum(probability)
    drawn = best_of_n(model, tokenizer, [prompt] * 400, world.reward, n=4, max_new_tokens=4, seed=1)
    for n in (1, 2, 4, 16):
        best = up_to**n - (up_to - probability) ** n
        kl = float((best * np.log(best / probability)).sum())
        assert kl <= best_of_n_kl(n) + 1e-5
        assert kl == pytest.approx(best_of_n_kl(n), abs=0.05)
        if n == 4:
            sampled = np.array([one.score for one in drawn])
            assert abs(sampled.mean() - (best * score).sum()) < 5 * sampled.std() / math.sqrt(400)
