"""A reference policy as a table: the next token depends on the newest one only."""

import numpy as np
import numpy.typing as npt

from textrl_env.oracle import Floats, PrefixTree


class BigramReference:
    """Satisfies `textrl_env.mdp.kl.Reference` without a model, so that its distributions are known exactly.

    Args:
        logits: (V, V), row i for the token after token i; each row is normalised.
    """

    def __init__(self, logits: Floats) -> None:
        self.logprobs: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def decoder(self) -> "BigramReference":
        """Itself: a table needs no cache."""
        return self

    def next_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], live: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Log π_ref(·|s): (N, L) -> (N, V)."""
        return self.logprobs[input_ids[:, -1]].astype(np.float32)

    def completion_logprobs(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8], n_tokens: int
    ) -> npt.NDArray[np.float32]:
        """Log π_ref of the last `n_tokens` tokens of each row: (N, L) -> (N, n_tokens)."""
        return self.logprobs[input_ids[:, -n_tokens - 1 : -1], input_ids[:, -n_tokens:]].astype(np.float32)

    def log_policy(self, last_prompt_token: int, tree: PrefixTree) -> list[Floats]:
        """Its log-probabilities on every prefix of a prompt's tree, for `textrl_env.oracle.soft_dp`."""
        first = self.logprobs[[last_prompt_token]]
        return [first, *(self.logprobs[prefixes[:, -1]] for prefixes in tree.prefixes[1:])]
