"""The five rungs, each asking for one thing more than those below it."""

from typing import Any

import numpy as np

from textrl_env.agent_checker.rung import Rung
from textrl_env.worlds import CopyWorld, EnumerableWorld, LetterTokenizer, ReverseWorld

ARMS = EnumerableWorld(vocab_size=8, horizon=1, n_prompts=1, seed=3)
COPY = CopyWorld(alphabet_size=3, length=2)
REVERSE = ReverseWorld(alphabet_size=3, length=2)
PREFERENCES = EnumerableWorld(vocab_size=4, horizon=2, n_prompts=1, seed=1)


def starts_with_c(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """1 where the first letter is a c; what follows changes nothing."""
    return [float(text.startswith("c")) for text in completions]


LADDER = (
    Rung(
        name="bandit",
        asks="one prompt, one token: prefer what scored higher",
        cause="the sign of the advantage or of the loss, or log-probabilities of other tokens than were sampled",
        prompts=ARMS.prompts,
        reward=ARMS.reward,
        tokenizer=ARMS.tokenizer,
        max_new_tokens=ARMS.horizon,
        timesteps=8_000,
    ),
    Rung(
        name="delayed credit",
        asks="the first token decides a score that is paid at the end",
        cause="credit does not reach earlier tokens: gamma or gae_lambda near 0, rewards summed up the wrong way "
        "round, returns that stop short of the last token",
        prompts=["a"],
        reward=starts_with_c,
        tokenizer=LetterTokenizer(5),
        max_new_tokens=6,
        timesteps=12_000,
    ),
    Rung(
        name="copy",
        asks="every prompt has an answer of its own",
        cause="the policy does not see the prompt, or prompts and advantages are shuffled apart",
        prompts=COPY.prompts,
        reward=COPY.reward,
        tokenizer=COPY.tokenizer,
        max_new_tokens=COPY.length,
        timesteps=12_000,
    ),
    Rung(
        name="reverse",
        asks="the oldest token is needed last",
        cause="the oldest tokens are lost or moved: a context that is too short, positions that ignore left padding, "
        "a cache that is stale",
        prompts=REVERSE.prompts,
        reward=REVERSE.reward,
        tokenizer=REVERSE.tokenizer,
        max_new_tokens=REVERSE.length,
        timesteps=30_000,
        share=0.85,
    ),
    Rung(
        name="preferences",
        asks="stay near the reference: the optimum is a distribution, no single answer",
        cause="the KL term is dropped, has the wrong sign or coefficient, or is not paid token by token; in KL mode "
        "'reference', no entropy bonus of weight kl_coef",
        prompts=PREFERENCES.prompts,
        reward=PREFERENCES.reward,
        tokenizer=PREFERENCES.tokenizer,
        max_new_tokens=PREFERENCES.horizon,
        timesteps=20_000,
        coef=1.0,
        share=0.95,
        reference_logits=np.random.default_rng(1).normal(scale=1.5, size=(4, 4)),
    ),
)
