"""The log-policy of a causal LM on every prefix of an oracle's tree."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from textrl_env.oracle import PrefixTree


@torch.inference_mode()
def prefix_logprobs(
    model: Any, prompt_ids: npt.NDArray[np.int64], tree: PrefixTree, *, vocab_size: int, batch_size: int = 4096
) -> list[npt.NDArray[np.float64]]:
    """Per depth t, log π(·|prompt, prefix) as (n_t, V) float64, in the order of `tree.prefixes`.

    Args:
        model: a causal LM of transformers, used in eval mode; V of its logits are read.
        prompt_ids: (P,).
        tree: of the prompt's completions.
        vocab_size: V.
        batch_size: prefixes per forward.
    """
    model.eval()
    levels = []
    for prefixes in tree.prefixes:
        prompts = np.tile(prompt_ids, (len(prefixes), 1))
        ids = torch.from_numpy(np.concatenate([prompts, prefixes], axis=1)).to(next(model.parameters()).device)
        logits = [model(input_ids=part, logits_to_keep=1).logits[:, -1] for part in torch.split(ids, batch_size)]
        levels.append(torch.log_softmax(torch.cat(logits)[:, :vocab_size].double(), dim=-1).cpu().numpy())
    return levels
