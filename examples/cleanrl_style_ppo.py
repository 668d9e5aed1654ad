"""PPO in one file that reads from top to bottom, against the vector environment, with the exact optimum beside it.

The task: four prompts, completions of up to three letters with random scores, and KL shaping that holds the policy near
its own start. You will see the exact objective of the policy climb towards the best there is.
Takes about 25 seconds on a CPU core.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from torch import nn

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.oracle import PrefixTree, evaluate, solve
from textrl_env.worlds import EnumerableWorld


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    total_timesteps: int = 150_000
    """Tokens to train on."""
    num_envs: int = 64
    """Episodes side by side."""
    num_steps: int = 24
    """Tokens of each environment between two updates."""
    learning_rate: float = 1e-2
    """Adam's at the start; falls linearly to 0."""
    num_minibatches: int = 4
    """Parts that a rollout is cut into."""
    update_epochs: int = 4
    """Passes over a rollout."""
    gamma: float = 1.0
    """Discount of rewards."""
    gae_lambda: float = 0.95
    """Of generalized advantage estimation."""
    clip_coef: float = 0.2
    """How far the probability ratio may move."""
    vf_coef: float = 0.5
    """Weight of the critic's loss."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this norm."""
    kl_coef: float = 0.3
    """Weight of the KL to the reference, which is the policy before training."""
    seed: int = 0
    """Of everything random."""


class Agent(nn.Module):
    """Two small networks, actor and critic, over one-hot tokens; a position without a token is all zeros.

    Shorter sequences stand at the right end, as the environment's do.
    """

    def __init__(self, vocab_size: int, length: int) -> None:
        super().__init__()
        self.vocab_size, self.length = vocab_size, length
        self.actor, self.critic = (
            nn.Sequential(nn.Linear(length * vocab_size, 128), nn.Tanh(), nn.Linear(128, n)) for n in (vocab_size, 1)
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T), (B, T) with T at most L -> log-probabilities of the next token (B, V), values (B,)."""
        one_hot = nn.functional.one_hot(input_ids, self.vocab_size) * attention_mask[..., None]
        x = nn.functional.pad(one_hot, (0, 0, self.length - input_ids.shape[1], 0)).flatten(1).float()
        return self.actor(x).log_softmax(dim=-1), self.critic(x).squeeze(-1)


class FrozenAgent:
    """An agent as the reference of KL shaping, which asks for its log-probabilities."""

    def __init__(self, agent: Agent) -> None:
        self.agent = copy.deepcopy(agent)

    def decoder(self) -> "FrozenAgent":
        return self

    @torch.no_grad()
    def next_logprobs(self, input_ids: np.ndarray, attention_mask: np.ndarray, live: np.ndarray) -> np.ndarray:
        return self.agent(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))[0].numpy()

    def completion_logprobs(self, input_ids: np.ndarray, attention_mask: np.ndarray, n_tokens: int) -> np.ndarray:
        """Log-probabilities of the last tokens, from the states before them, for `KLShaping(pay="episode")`."""
        logprobs, length = [], input_ids.shape[1]
        rows, live = np.arange(len(input_ids)), np.ones(len(input_ids), dtype=bool)
        for at in range(length - n_tokens, length):
            before = self.next_logprobs(input_ids[:, :at], attention_mask[:, :at], live)
            logprobs.append(before[rows, input_ids[:, at]])
        return np.stack(logprobs, axis=1)


@torch.no_grad()
def exact_policy(agent: Agent, prompt_ids: list[int], tree: PrefixTree) -> list[np.ndarray]:
    """The agent's log-probabilities after every prefix of the tree: its exact policy."""
    levels = []
    for prefixes in tree.prefixes:
        ids = torch.from_numpy(np.concatenate([np.tile(prompt_ids, (len(prefixes), 1)), prefixes], axis=1))
        levels.append(agent(ids, torch.ones_like(ids))[0].double().numpy())
    return levels


def main(args: Args) -> dict[str, float]:
    """Trains; returns the exact objective of the policy before and after, and the best there is."""
    torch.manual_seed(args.seed)
    world = EnumerableWorld(vocab_size=8, horizon=3, n_prompts=4, seed=args.seed)
    length = 2 + world.horizon
    agent = Agent(world.vocab_size, length)
    reference = FrozenAgent(agent)
    env = TextGenVectorEnv(
        world.prompts,
        world.reward,
        world.tokenizer,
        num_envs=args.num_envs,
        autoreset_mode="SameStep",
        max_new_tokens=world.horizon,
        kl=KLShaping(args.kl_coef, mode="sampled"),
        reference=reference,
    )

    facts = []  # of every prompt: its ids, all completions with their scores, the reference's exact policy
    for prompt in world.prompts:
        prompt_ids, tree = world.tokenizer.encode(prompt), world.tree(prompt)
        facts.append((prompt_ids, tree, exact_policy(reference.agent, prompt_ids, tree)))
    best = float(np.mean([solve(tree, log_ref, coef=args.kl_coef).objective for _, tree, log_ref in facts]))

    def exact_objective() -> float:
        policies = [(tree, exact_policy(agent, ids, tree), log_ref) for ids, tree, log_ref in facts]
        return float(np.mean([evaluate(*policy, coef=args.kl_coef).objective for policy in policies]))

    before = exact_objective()
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    shape = (args.num_steps, args.num_envs)
    ids, masks = torch.zeros(*shape, length, dtype=torch.long), torch.zeros(*shape, length, dtype=torch.int8)
    actions, logprobs, rewards, dones, values = torch.zeros(shape, dtype=torch.long), *torch.zeros(4, *shape)

    observation, _ = env.reset(seed=args.seed)
    n_updates = max(1, args.total_timesteps // (args.num_steps * args.num_envs))
    for update in range(n_updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - update / n_updates)

        for step in range(args.num_steps):
            ids[step] = torch.from_numpy(observation["input_ids"])
            masks[step] = torch.from_numpy(observation["attention_mask"])
            with torch.no_grad():
                log_policy, values[step] = agent(ids[step], masks[step])
            actions[step] = torch.multinomial(log_policy.exp(), 1).squeeze(1)
            logprobs[step] = log_policy.gather(1, actions[step][:, None]).squeeze(1)
            # The KL is charged by the environment, so the action says how likely it was.
            action = {"token": actions[step].numpy(), "logprob": logprobs[step].numpy()}
            observation, reward, terminated, truncated, _ = env.step(action)
            rewards[step] = torch.from_numpy(reward)
            # The length limit terminates here and pays the score, so nothing is ever truncated.
            dones[step] = torch.from_numpy(terminated | truncated)

        with torch.no_grad():
            _, next_value = agent(*(torch.from_numpy(observation[key]) for key in ("input_ids", "attention_mask")))
        advantages, last = torch.zeros(shape), torch.zeros(args.num_envs)
        for step in reversed(range(args.num_steps)):
            goes_on = 1 - dones[step]
            delta = rewards[step] + args.gamma * goes_on * next_value - values[step]
            last = delta + args.gamma * args.gae_lambda * goes_on * last
            advantages[step], next_value = last, values[step]
        returns = advantages + values

        for _ in range(args.update_epochs):
            for part in torch.randperm(args.num_steps * args.num_envs).chunk(args.num_minibatches):
                log_policy, value = agent(ids.flatten(0, 1)[part], masks.flatten(0, 1)[part])
                logprob = log_policy.gather(1, actions.flatten()[part][:, None]).squeeze(1)
                advantage = advantages.flatten()[part]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (logprob - logprobs.flatten()[part]).exp()
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
                value_loss = 0.5 * (value - returns.flatten()[part]).square().mean()
                optimizer.zero_grad()
                (policy_loss + args.vf_coef * value_loss).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()

        if (update + 1) % max(1, n_updates // 10) == 0:
            tokens = (update + 1) * args.num_steps * args.num_envs
            print(f"{tokens:7d} tokens: exact objective {exact_objective():+.3f}; the optimum is {best:+.3f}")

    after = exact_objective()
    print(f"{before:+.3f} before, {after:+.3f} after: {(after - before) / (best - before):.1%} of the gap closed")
    return {"before": before, "after": after, "best": best}


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
