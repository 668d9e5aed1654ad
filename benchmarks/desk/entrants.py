"""The entrants of the tournament: each may generate, and have scored, the same number of completions."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from desk.lab import MAX_NEW_TOKENS, Lab, Point, prompts, quiet
from transformers import AutoModelForCausalLM

from textrl_env.agents.offline import DPOConfig, train_dpo
from textrl_env.lm import load_model
from textrl_env.pipeline import PPOOptions, TrainOptions, run_ppo, run_train
from textrl_env.stats.comparison import best_of_n_kl

Points = Iterator[tuple[float | None, Point]]
"""Settings (KL coefficient, or n) and the points they lead to."""
BEST_OF = (1, 2, 4, 8, 16)
PASSES = 4
"""Passes of DPO over its pairs, as many as GRPO makes over its completions."""
FRONTIER_SAMPLES = 64
LEAST_EFFECTIVE = 8.0
"""Samples a prompt behind a point of the frontier, in effect (Kish): with fewer, it is not drawn."""


def sft(lab: Lab, coefs: tuple[float, ...], budget: int) -> Points:
    """Measures the SFT model, where all start; no completions."""
    yield None, lab.measure(lab.folder / "sft")


def best_of_n(lab: Lab, coefs: tuple[float, ...], budget: int) -> Points:
    """The best of n of the SFT model by the proxy, on as many held-out prompts as the budget allows.

    Every n is estimated from all samples: the completion at rank i of m is the best of n with probability
    C(i - 1, n - 1) / C(m, n). Its KL is the bound log n - (n - 1) / n.
    """
    m = BEST_OF[-1]
    questions = prompts(budget // m, seed=lab.seed + 3000, split="heldout")
    proxy, gold = lab.scores(questions, lab.sample(lab.sft, questions, n=m))
    order = proxy.argsort(axis=1)
    by_rank = [np.take_along_axis(scores, order, axis=1).mean(axis=0) for scores in (gold, proxy)]
    for n in BEST_OF[1:]:
        shares = best_of_shares(m, n)
        yield n, Point(best_of_n_kl(n), *(float(shares @ scores) for scores in by_rank))


def best_of_shares(m: int, n: int) -> np.ndarray:
    """(m,) how likely the completion of each rank, worst first, is the best of n that are drawn from the m."""
    ranks = np.arange(m)
    # C(i, n - 1) / C(m, n) for the i others below, factor by factor.
    shares = np.ones(m)
    for step in range(n - 1):
        shares *= np.maximum(ranks - step, 0) / (m - 1 - step)
    return shares * n / m


def dpo(lab: Lab, coefs: tuple[float, ...], budget: int) -> Points:
    """Trains on pairs of the SFT model's completions, with the proxy's own probability of each preference."""
    questions = prompts(budget // 2, seed=lab.seed + 2000)
    groups = lab.sample(lab.sft, questions, n=2)
    proxy, _ = lab.scores(questions, groups)
    pairs = []
    for prompt, group, scores, better in zip(questions, groups, proxy, proxy.argmax(axis=1), strict=True):
        probability = float(1 / (1 + np.exp(-abs(scores[0] - scores[1]))))
        texts = {"chosen": group[better].text, "rejected": group[1 - better].text}
        pairs.append({"prompt": prompt, **texts, "soft_label": probability})
    for coef in coefs:
        model = load_model(AutoModelForCausalLM, lab.folder / "sft")
        config = DPOConfig(beta=coef, batch_size=32, n_steps=PASSES * len(pairs) // 32, max_new_tokens=MAX_NEW_TOKENS)
        with quiet():
            train_dpo(model, lab.tokenizer, pairs, config, seed=lab.seed)
        model.save_pretrained(lab.folder / "dpo" / "policy")
        yield coef, lab.measure(lab.folder / "dpo" / "policy")


def on_policy(train: Callable[..., Any], options: Any) -> Callable[[Lab, tuple[float, ...], int], Points]:
    """Makes an entrant of a stage of `textrl_env.pipeline` with its own options, at every KL coefficient."""

    def run(lab: Lab, coefs: tuple[float, ...], budget: int) -> Points:
        n_updates = budget // options.n_episodes
        for coef in coefs:
            # Nothing is evaluated or saved on the way.
            checkpoints = replace(options.checkpoints, save_every=budget)
            stage = replace(options, kl_coef=coef, n_updates=n_updates, watch_every=budget, checkpoints=checkpoints)
            with quiet():
                train(stage, lab.folder, lab.seed)
            yield coef, lab.measure(lab.folder / stage.exports)

    return run


def frontier(lab: Lab, coefs: tuple[float, ...], budget: int) -> Points:
    """The optimum π_ref · exp(proxy / coef) itself, by self-normalised importance sampling from the SFT model.

    Coefficients fall until a prompt's weights rest on too few of its samples. Costs completions beyond the budget.
    """
    questions = lab.heldout[:128]
    proxy, gold = lab.scores(questions, lab.sample(lab.sft, questions, n=FRONTIER_SAMPLES))
    for coef in np.geomspace(8, 0.05, 24):
        exponents = proxy / coef
        exponents -= exponents.max(axis=1, keepdims=True)
        weights = np.exp(exponents)
        weights /= weights.sum(axis=1, keepdims=True)
        if np.median(1 / (weights**2).sum(axis=1)) < LEAST_EFFECTIVE:
            return
        # KL(π* ‖ π_ref) is that of the weights to equal ones.
        kl = (weights * np.log(np.maximum(weights * FRONTIER_SAMPLES, 1e-300))).sum(axis=1).mean()
        yield (
            float(coef),
            Point(*(float(x) for x in (kl, (weights * gold).sum(1).mean(), (weights * proxy).sum(1).mean()))),
        )


ENTRANTS: dict[str, Any] = {
    "SFT": sft,
    "best-of-n": best_of_n,
    "DPO": dpo,
    "rejection sampling": on_policy(run_train, TrainOptions(algorithm="rejection")),
    "RLOO": on_policy(run_train, TrainOptions(algorithm="rloo")),
    "GRPO": on_policy(run_train, TrainOptions(algorithm="grpo")),
    "PPO": on_policy(run_ppo, PPOOptions()),
    "frontier": frontier,
}
