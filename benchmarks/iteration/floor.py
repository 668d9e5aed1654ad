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

from textrl_env.agents import ActorCriticLM
from textrl_env.agents.maths import gae, ppo_policy_loss, value_loss, whiten
from textrl_env.lm.forward import cache_for, read_logits, read_states, token_logprobs
from textrl_env.training import adamw


@dataclass(frozen=True)
class Sampled:
    """Completions of full length: prompts (B, P) left-padded with their mask, tokens and logprobs (B, C)."""

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    logprobs: Tensor

    @property
    def sequences(self) -> tuple[Tensor, Tensor]:
        """Token ids and mask of prompt and completion, (B, P + C)."""
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        mask = torch.cat([self.prompt_mask, torch.ones_like(self.completion_ids)], dim=1)
        return ids, mask


@dataclass(frozen=True)
class Scored:
    """What the update needs beside the completions: (B, C) each."""

    advantages: Tensor
    returns: Tensor
    values: Tensor


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
        cache, mask, at = cache_for(self.agent.policy), prompt_mask, prompt_mask.sum(dim=1)
        logits = cache.start(prompt_ids, prompt_mask)
        tokens, logprobs = [], []
        for step in range(self.size.tokens):
            if step:
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
                logits = cache.append(tokens[-1][:, 0], at + step - 1, mask)
            distribution = log_softmax(logits.float(), dim=-1)
            tokens.append(torch.multinomial(distribution.exp(), 1, generator=self.generator))
            logprobs.append(distribution.gather(-1, tokens[-1]))
        return prompt_ids, prompt_mask, torch.cat(tokens, dim=1), torch.cat(logprobs, dim=1)

    @torch.no_grad()
    def rewards(self, sample: Sampled) -> Tensor:
        """The KL term of every token, and the reward model's score on the last: (B, C)."""
        rewards = self.size.kl_coef * (self._logprobs(self.reference, sample) - sample.logprobs)
        ids, mask = sample.sequences
        end = torch.full_like(ids[:, :1], self.end_id)
        ids, mask = torch.cat([ids, end], dim=1), torch.cat([mask, torch.ones_like(end)], dim=1).bool()
        newest = torch.zeros_like(mask)
        newest[:, -1] = True
        scores = read_states(self.reward_model.transformer, ids, mask, newest)
        rewards[:, -1] += self.reward_model.score(scores)[:, 0].float()
        return rewards

    @torch.no_grad()
    def score(self, sample: Sampled) -> Scored:
        """Reward model, reference and critic, each once over the completions."""
        rewards, values = self.rewards(sample), self._values(sample)
        mask = torch.ones_like(rewards, dtype=torch.bool)
        advantages, returns = gae(rewards, values, torch.zeros(len(values)), mask, gamma=1.0, lam=0.95)
        return Scored(whiten(advantages, mask), returns, values)

    def update(self, sample: Sampled, targets: Scored) -> None:
        """Four epochs of one minibatch each."""
        weights = torch.full_like(targets.values, 1 / targets.values.numel())
        for _ in range(self.size.epochs):
            policy_loss, _ = ppo_policy_loss(
                self._logprobs(self.agent.policy, sample),
                sample.logprobs,
                targets.advantages,
                weights,
                clip_range=0.2,
            )
            critic_loss = value_loss(self._values(sample), targets.values, targets.returns, weights)
            self.optimizer.zero_grad(set_to_none=True)
            (policy_loss + 0.5 * critic_loss).backward()
            torch.nn.utils.clip_grad_norm_(self.agent.parameters(), 1.0)
            self.optimizer.step()

    def _logprobs(self, model: Any, sample: Sampled) -> Tensor:
        logits = read_logits(model, *self._states(sample)).logits
        tokens = sample.completion_ids
        return token_logprobs(logits, tokens.flatten(), vocab_size=self.size.vocabulary).view(tokens.shape)

    def _values(self, sample: Sampled) -> Tensor:
        assert self.agent.critic_trunk is not None and self.agent.value_head is not None
        states = read_states(self.agent.critic_trunk, *self._states(sample))
        values: Tensor = self.agent.value_head(states).view(sample.completion_ids.shape).float()
        return values

    def _states(self, sample: Sampled) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, mask and the states before the completion's tokens, without the last token; (B, P + C - 1) each."""
        ids, mask = sample.sequences
        read = torch.zeros_like(mask[:, :-1], dtype=torch.bool)
        read[:, -self.size.tokens :] = True
        return ids[:, :-1], mask[:, :-1].bool(), read


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
        sample = loop.rollout()
        stopwatch.switch("scoring")
        targets = loop.score(sample)
        stopwatch.switch("update")
        loop.update(sample, targets)
        return {"tokens": sample.completion_ids.numel(), "phases": stopwatch.read()}

    turns.ready()
    turns.serve(iteration)


if __name__ == "__main__":
    main()
