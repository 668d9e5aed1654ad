"""Write the prompt backwards: what copying is, but the first letter comes last."""

from dataclasses import dataclass

from textrl_env.worlds.copying import CopyWorld


@dataclass(frozen=True, kw_only=True)
class ReverseWorld(CopyWorld):
    """Write the letters of the prompt in reverse order, then end; `TextRL/Reverse-v0`.

    ## Description
    The prompt is a row of letters, drawn independently. The right answer is the row backwards and the end token.

    ## Action Space
    `Discrete(V)`, V = `alphabet_size` + 1: the end token 0, then a letter each.

    ## Observation Space
    `Dict(input_ids=Box(0, V-1, (L,), int64), attention_mask=Box(0, 1, (L,), int8))`, L = 2 `length` + 1, left-padded.

    ## Rewards
    As in `textrl_env.worlds.copying.CopyWorld`, for the same reason: the share of the answer's tokens that are right
    before the first mistake. The best mean return is 1 (`best_return`); a uniform random policy gets 0.025 by default
    (`random_return`).

    ## Starting State
    One of the `n_prompts` prompts, uniformly.

    ## Episode End
    Terminated by the end token or after `length` + 1 tokens.

    ## Information
    As in `textrl_env.TextGenEnv`.

    ## Arguments
    The fields of `CopyWorld` and the options of `textrl_env.TextGenEnv`.
    """

    def answer(self, prompt: str) -> str:
        return prompt[::-1]
