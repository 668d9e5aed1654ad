"""Your own algorithm against the environment: REINFORCE with a baseline, in a plain Gymnasium loop.

Nothing of `textrl_env.agents` is used: a table of logits plays against the vector environment, KL shaping included,
and the result is compared with the exact optimum. You will see the share of the gap between the reference and the
optimum that is closed. Takes about 10 seconds on a CPU core.
"""

from dataclasses import dataclass

import numpy as np
import torch
import tyro

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.oracle import evaluate, solve
from textrl_env.worlds import EnumerableWorld


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    n_steps: int = 3000
    """Steps of the vector environment, `num_envs` tokens each."""
    num_envs: int = 64
    """Episodes side by side."""
    coef: float = 0.5
    """The KL coefficient."""
    learning_rate: float = 0.05
    """Adam's."""
    seed: int = 0
    """Of everything random."""


class UniformReference:
    """A reference policy that finds every token equally likely; three methods are all that KL shaping asks for."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def decoder(self) -> "UniformReference":
        return self

    def next_logprobs(self, input_ids: np.ndarray, attention_mask: np.ndarray, live: np.ndarray) -> np.ndarray:
        return np.full((len(input_ids), self.vocab_size), -np.log(self.vocab_size), dtype=np.float32)

    def completion_logprobs(self, input_ids: np.ndarray, attention_mask: np.ndarray, n_tokens: int) -> np.ndarray:
        return np.full((len(input_ids), n_tokens), -np.log(self.vocab_size), dtype=np.float32)


def main(args: Args) -> dict[str, float]:
    """Trains and returns the share of the gap to the optimum that was closed."""
    world = EnumerableWorld(vocab_size=5, horizon=3, n_prompts=1, seed=args.seed)
    env = TextGenVectorEnv(
        world.prompts,
        world.reward,
        world.tokenizer,
        num_envs=args.num_envs,
        autoreset_mode="SameStep",
        max_new_tokens=world.horizon,
        kl=KLShaping(args.coef, mode="sampled"),
        reference=UniformReference(world.vocab_size),
    )
    tree = world.tree(world.prompts[0])
    place = {
        tuple(p): (depth, row) for depth, level in enumerate(tree.prefixes) for row, p in enumerate(level.tolist())
    }
    logits = [torch.zeros(len(level), world.vocab_size, requires_grad=True) for level in tree.prefixes]
    optimizer = torch.optim.Adam(logits, lr=args.learning_rate)
    generator = torch.Generator().manual_seed(args.seed)
    env.reset(seed=args.seed)
    prefixes: list[tuple[int, ...]] = [()] * args.num_envs
    episodes: list[list[tuple[torch.Tensor, float]]] = [[] for _ in range(args.num_envs)]
    baseline, losses = 0.0, []
    for _ in range(args.n_steps):
        rows = torch.stack([logits[place[prefix][0]][place[prefix][1]] for prefix in prefixes]).log_softmax(dim=-1)
        tokens = torch.multinomial(rows.detach().exp(), 1, generator=generator)
        logprobs = rows.gather(1, tokens).squeeze(1)
        action = {"token": tokens.squeeze(1).numpy(), "logprob": logprobs.detach().numpy()}
        _, rewards, terminated, truncated, _ = env.step(action)
        for slot in range(args.num_envs):
            episodes[slot].append((logprobs[slot], float(rewards[slot])))
            prefixes[slot] = (*prefixes[slot], int(tokens[slot]))
            if terminated[slot] or truncated[slot]:
                total = sum(reward for _, reward in episodes[slot])
                losses.append(-(total - baseline) * torch.stack([logprob for logprob, _ in episodes[slot]]).sum())
                baseline += 0.01 * (total - baseline)
                episodes[slot], prefixes[slot] = [], ()
        if len(losses) >= args.num_envs:
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            optimizer.step()
            losses = []
            # Running episodes hold logits of before the update; their gradients no longer fit.
            env.reset()
            prefixes, episodes = [()] * args.num_envs, [[] for _ in range(args.num_envs)]
    reference = [np.full_like(score, -np.log(world.vocab_size)) for score in tree.scores]
    policy = [level.detach().double().log_softmax(dim=-1).numpy() for level in logits]
    start = evaluate(tree, reference, reference, coef=args.coef).objective
    best = solve(tree, reference, coef=args.coef).objective
    end = evaluate(tree, policy, reference, coef=args.coef).objective
    share = (end - start) / (best - start)
    print(f"objective: reference {start:+.3f}, learnt {end:+.3f}, optimum {best:+.3f}; {share:.1%} of the gap closed")
    return {"closed": share}


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
