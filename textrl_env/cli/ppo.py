"""`textrl ppo`: PPO of the actor-critic LM in the vector environment, against a frozen copy of the SFT model."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textrl_env.cli.run_folder import existing_model
from textrl_env.errors import InputError
from textrl_env.prompts import PromptDataset
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class TrainPPO:
    """Trains a policy with PPO on a reward model's score and KL shaping; writes RUN/policy and RUN/ppo."""

    run_dir: Path = Path("runs/mine")
    """The run's folder."""
    policy: Path | None = None
    """The causal LM to start from and to stay near; by default RUN/sft."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model."""
    prompts: Path | None = None
    """JSONL, CSV or TXT with prompts; by default the support desk's, whose gold score is logged as well."""
    n_prompts: int = 4000
    """How many prompts of the support desk."""
    max_new_tokens: int = 49
    """Longest completion, in tokens."""
    n_updates: int = 70
    """Updates of the policy."""
    n_episodes: int = 64
    """Completions per update."""
    batch_size: int = 32
    """Completions per minibatch; divides n_episodes."""
    n_epochs: int = 2
    """Passes over the completions of an update."""
    learning_rate: float = 1e-3
    """Adam's at the start; it falls linearly to a tenth."""
    kl_coef: float = 0.1
    """Score given up per nat of KL to the reference."""
    gae_lambda: float = 0.95
    """λ of generalized advantage estimation."""
    critic: Literal["separate", "shared"] = "separate"
    """A critic with a trunk of its own, or a head on the policy's."""
    seed: int = 0
    """Of prompts, sampling and minibatches."""

    def run(self) -> Path:
        """Trains, writes a checkpoint and returns its folder; Ctrl-C writes one too."""
        policy = existing_model(self.policy or self.run_dir / "sft", made_by="textrl sft")
        reward_model = existing_model(self.reward_model or self.run_dir / "reward_model", made_by="textrl reward-model")
        if self.prompts is None:
            rows = support_desk.prompts(self.n_prompts, seed=self.seed + 2000)
            prompts = PromptDataset.from_rows({"prompt": row["prompt"]} for row in rows)
        else:
            prompts = PromptDataset.from_file(self.prompts)
        if self.n_updates < 1:
            raise InputError(f"n_updates must be at least 1, got {self.n_updates}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate must be above 0, got {self.learning_rate}")

        from stable_baselines3.common.callbacks import BaseCallback
        from transformers import AutoConfig, AutoTokenizer

        from textrl_env import KLShaping, TextGenVectorEnv
        from textrl_env.agents import PPO, ActorCriticLM
        from textrl_env.agents.callbacks import ShowProgress, StopOnInterrupt, TrackReward
        from textrl_env.reference import FrozenReference
        from textrl_env.reward_models import ModelReward, RewardModel

        tokenizer = AutoTokenizer.from_pretrained(policy)
        # Names a prompt that does not fit before any model is loaded.
        context = AutoConfig.from_pretrained(policy).get_text_config().max_position_embeddings
        prompts.encode(tokenizer, max_prompt_tokens=context - self.max_new_tokens)
        agent = ActorCriticLM.from_pretrained(policy, vocab_size=len(tokenizer), critic=self.critic)
        env = TextGenVectorEnv(
            prompts, ModelReward(RewardModel.from_pretrained(reward_model)), tokenizer, num_envs=self.n_episodes,
            autoreset_mode="Disabled", max_new_tokens=self.max_new_tokens,
            kl=KLShaping(self.kl_coef, mode="sampled", estimator="k1", pay="episode"),
            reference=FrozenReference(agent.policy, vocab_size=len(tokenizer)),
        )  # fmt: skip
        out = self.run_dir / "ppo"
        algorithm = PPO(
            agent, env, learning_rate=lambda remaining: self.learning_rate * (0.1 + 0.9 * remaining),
            n_episodes=self.n_episodes, batch_size=self.batch_size, n_epochs=self.n_epochs,
            gae_lambda=self.gae_lambda, log_dir=out, seed=self.seed,
        )  # fmt: skip
        callbacks: list[BaseCallback] = [ShowProgress(self.n_updates)]
        if self.prompts is None:
            callbacks.append(TrackReward("gold", support_desk.gold_reward))
        with StopOnInterrupt() as stop:
            algorithm.learn(total_updates=self.n_updates, callback=[*callbacks, stop])
        checkpoint = algorithm.save(out / "checkpoint")
        exported = self.run_dir / "policy"
        agent.policy.save_pretrained(exported)
        tokenizer.save_pretrained(exported)
        if stop.requested:
            print(
                f"textrl: stopped after update {algorithm.n_updates}; saved in {exported} and {checkpoint}",
                file=sys.stderr,
            )
            raise SystemExit(130)
        return checkpoint
