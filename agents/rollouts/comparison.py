"""Two policies on the same prompts: their completions, what judges say of them, and how far they are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from textrl_env.agents.rollouts.sampling import completion_logprobs, sample_completions
from textrl_env.mdp import RewardCallable, RewardSum


@dataclass(frozen=True)
class SideBySide:
    """Completions and scores of two policies, called `sft` and `ppo` as in `textrl evaluate`.

    Attributes:
        prompts: B.
        texts: B completions per policy.
        scores: per judge and policy, B scores.
        kl: (B,) log-ratios log π_ppo(y|x) - log π_sft(y|x) of the second policy's completions, in nats.
    """

    prompts: list[str]
    texts: dict[str, list[str]]
    scores: dict[str, dict[str, Sequence[float]]]
    kl: npt.NDArray[np.float64]

    def rows(self) -> list[dict[str, str]]:
        """Returns a row per prompt: `prompt`, `before`, `after`."""
        columns = zip(self.prompts, self.texts["sft"], self.texts["ppo"], strict=True)
        return [{"prompt": prompt, "before": before, "after": after} for prompt, before, after in columns]

    def table(self, n: int) -> Table:
        """Returns the first `n` rows, to be printed by a `rich.console.Console`."""
        table = Table("prompt", "before", "after", show_lines=True)
        for row in self.rows()[:n]:
            # As Text: square brackets in a completion are no markup.
            table.add_row(*map(Text, row.values()))
        return table


def side_by_side(
    sft: Any,
    ppo: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    judges: Mapping[str, RewardCallable],
    max_new_tokens: int,
    seed: int = 0,
) -> SideBySide:
    """Samples one completion per prompt and policy, and has it judged.

    Args:
        sft: a causal LM of transformers.
        ppo: another one.
        tokenizer: the one that both share.
        prompts: B texts.
        judges: reward functions of (prompts, completions), by name.
        max_new_tokens: the most tokens of a completion.
        seed: of sampling, for each policy.
    """
    models = {"sft": sft, "ppo": ppo}
    samples = {}
    for name, model in models.items():
        groups = sample_completions(model, tokenizer, prompts, max_new_tokens=max_new_tokens, seed=seed)
        samples[name] = [completion for (completion,) in groups]
    texts = {name: [completion.text for completion in completions] for name, completions in samples.items()}
    scores: dict[str, dict[str, Sequence[float]]] = {
        name: {policy: RewardSum.score_texts(judge, prompts, completions) for policy, completions in texts.items()}
        for name, judge in judges.items()
    }
    logprobs = [completion_logprobs(model, samples["ppo"], vocab_size=len(tokenizer)) for model in (ppo, sft)]
    return SideBySide(list(prompts), texts, scores, np.array(logprobs[0]) - np.array(logprobs[1]))
