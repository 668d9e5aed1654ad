"""The least that a PPO iteration on the job can cost: one hand-written loop over the modules that ours uses.

No environment, no texts, no logging, no checks; the mathematics (losses, advantages) is ours, called directly.

    python -m iteration.floor FOLDER
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from iteration.job import Job
from iteration.ours import actor_critic
from iteration.turns import Stopwatch, Turns
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import DynamicCache

from textrl_env.agents import ActorCriticLM
from textrl_env.agents.gae import gae
from textrl_env.agents.losses import ppo_policy_loss, value_loss, whiten
from textrl_env.master_weights import adamw


@dataclass(frozen=True)
class Sampled:
    """Completions of full length: prompts (B, P) left-padded with their mask, tokens and logprobs (B, C)."""

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    logprobs: Tensor

    @property
    def sequences(self) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids, mask and positions of prompt and completion, (B, P + C)."""
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        mask = torch.cat([self.prompt_mask, torch.ones_like(self.completion_ids)], dim=1)
        return ids, mask, positions(mask)


@dataclass(frozen=True)
class Scored:
    """What the update needs beside the completions: (B, C) each."""

    advantages: Tensor
    returns: Tensor
    values: Tensor


def positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(dim=1) - 1).clamp_min(0)


class Floor:
    """The four networks and the three phases.

    Args:
        agent: policy and critic; trained in place.
        reward_model, reference: frozen.
    """

    def __init__(self, job: Job, agent: ActorCriticLM, reward_model: Any, reference: Any) -> None:
        self.size, self.agent = job.size, agent
        self.reward_model, self.reference = reward_model.eval(), reference.eval()
        self.optimizer = adamw(agent.parameters(), lr=self.size.learning_rate, eps=1e-5)
        self.generator = torch.Generator().manual_seed(0)
        tokenizer = job.tokenizer()
        self.end_id = tokenizer.eos_token_id
        self.prompts = tokenizer(job.prompts, padding=True, return_tensors="pt")

    def rollout(self) -> Sampled:
        """Tokens of all rows in lockstep, from a key-value cache."""
        # Copied, because what inference mode makes cannot take part in a backward pass.
        return Sampled(*(tensor.clone() for tensor in self._sample()))

    @torch.inference_mode()
    def _sample(self) -> tuple[Tensor, ...]:
        rows = torch.randint(len(self.prompts.input_ids), (self.size.completions,), generator=self.generator)
        prompt_ids, prompt_mask = self.prompts.input_ids[rows], self.prompts.attention_mask[rows]
        cache, ids, mask = DynamicCache(), prompt_ids, prompt_mask
        tokens, logprobs = [], []
        for _ in range(self.size.tokens):
            logits = self.agent.policy(
                input_ids=ids, attention_mask=mask, position_ids=positions(mask)[:, -ids.shape[1] :],
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            ).logits[:, -1]  # fmt: skip
            distribution = log_softmax(logits.float(), dim=-1)
            ids = torch.multinomial(distribution.exp(), 1, generator=self.generator)
            tokens.append(ids)
            logprobs.append(distribution.gather(-1, ids))
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        return prompt_ids, prompt_mask, torch.cat(tokens, dim=1), torch.cat(logprobs, dim=1)

    @torch.no_grad()
    def rewards(self, sampled: Sampled) -> Tensor:
        """The KL term of every token, and the reward model's score on the last: (B, C)."""
        rewards = self.size.kl_coef * (self._logprobs(self.reference, sampled) - sampled.logprobs)
        ids, mask, _ = sampled.sequences
        end = torch.full_like(ids[:, :1], self.end_id)
        scores = self.reward_model.transformer(
            input_ids=torch.cat([ids, end], dim=1), attention_mask=torch.cat([mask, torch.ones_like(end)], dim=1),
            position_ids=positions(torch.cat([mask, torch.ones_like(end)], dim=1)), use_cache=False,
        ).last_hidden_state[:, -1]  # fmt: skip
        rewards[:, -1] += self.reward_model.score(scores)[:, 0].float()
        return rewards

    @torch.no_grad()
    def score(self, sampled: Sampled) -> Scored:
        """Reward model, reference and critic, each once over the completions."""
        rewards, values = self.rewards(sampled), self._values(sampled)
        counted = torch.ones_like(rewards, dtype=torch.bool)
        advantages, returns = gae(rewards, values, torch.zeros(len(values)), counted, gamma=1.0, lam=0.95)
        return Scored(whiten(advantages, counted), returns, values)

    def update(self, sampled: Sampled, scored: Scored) -> None:
        """Four epochs of one minibatch each."""
        weights = torch.full_like(scored.values, 1 / scored.values.numel())
        for _ in range(self.size.epochs):
            policy_loss, _ = ppo_policy_loss(
                self._logprobs(self.agent.policy, sampled), sampled.logprobs, scored.advantages, weights,
                clip_range=0.2,
            )  # fmt: skip
            critic_loss = value_loss(self._values(sampled), scored.values, scored.returns, weights)
            self.optimizer.zero_grad(set_to_none=True)
            (policy_loss + 0.5 * critic_loss).backward()
            torch.nn.utils.clip_grad_norm_(self.agent.parameters(), 1.0)
            self.optimizer.step()

    def _logprobs(self, model: Any, sampled: Sampled) -> Tensor:
        ids, mask, at = sampled.sequences
        logits = model(
            input_ids=ids[:, :-1], attention_mask=mask[:, :-1], position_ids=at[:, :-1], use_cache=False,
            logits_to_keep=self.size.tokens,
        ).logits  # fmt: skip
        return log_softmax(logits.float(), dim=-1).gather(-1, sampled.completion_ids[..., None]).squeeze(-1)

    def _values(self, sampled: Sampled) -> Tensor:
        ids, mask, at = sampled.sequences
        assert self.agent.critic_trunk is not None and self.agent.value_head is not None
        hidden = self.agent.critic_trunk(
            input_ids=ids[:, :-1], attention_mask=mask[:, :-1], position_ids=at[:, :-1], use_cache=False
        ).last_hidden_state
        values: Tensor = self.agent.value_head(hidden[:, -self.size.tokens :]).squeeze(-1).float()
        return values


def floor(job: Job) -> Floor:
    """The loop with the job's networks."""
    return Floor(job, actor_critic(job), job.classifier("reward_model"), job.policy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    turns, stopwatch = Turns(), Stopwatch()
    loop = floor(Job(parser.parse_args().folder))

    def iteration() -> dict[str, Any]:
        stopwatch.switch("rollout")
        sampled = loop.rollout()
        stopwatch.switch("scoring")
        scored = loop.score(sampled)
        stopwatch.switch("update")
        loop.update(sampled, scored)
        return {"tokens": sampled.completion_ids.numel(), "phases": stopwatch.read()}

    turns.ready()
    turns.serve(iteration)


if __name__ == "__main__":
    main()
