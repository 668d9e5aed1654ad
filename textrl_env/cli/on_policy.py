"""What `textrl ppo` and `textrl train` share: a policy trained in the vector environment, held to the SFT model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

import tyro

from textrl_env.cli.checkpoints import Checkpoints
from textrl_env.cli.fitting import fitting_tokenizer
from textrl_env.cli.run_folder import existing_model
from textrl_env.cli.stage import Stopped
from textrl_env.errors import require_above, require_at_least
from textrl_env.interrupt import Interrupt
from textrl_env.kl import KLShaping
from textrl_env.prompts import PromptDataset
from textrl_env.rows import OnBadRow
from textrl_env.worlds import support_desk

if TYPE_CHECKING:
    from textrl_env import TextGenVectorEnv
    from textrl_env.agents import ActorCriticLM, OnPolicyAlgorithm
    from textrl_env.agents.on_policy import OnPolicyOptions


@dataclass(frozen=True)
class TrainOnPolicy(ABC):
    """The options of every on-policy algorithm."""

    policy: Path | None = None
    """The causal LM to start from and to stay near; by default RUN/sft."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model."""
    prompts: Path | None = None
    """JSONL, CSV or TXT with prompts; by default the support desk's, whose gold score is logged as well."""
    on_bad_row: OnBadRow = "error"
    """What a bad row of `prompts` does: stop, or be left out and counted."""
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
    learning_rate: float = 1e-3
    """Adam's at the start; it falls linearly to a tenth."""
    kl_coef: float = 0.1
    """Score given up per nat of KL to the reference."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where the KL is charged: in the environment's reward, or as a term of the loss, blind to where a token leads."""
    checkpoints: Annotated[Checkpoints, tyro.conf.arg(name="")] = field(default_factory=Checkpoints)
    """How often to save, and where to go on."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """The stage's folder in the run's."""

    @abstractmethod
    def exported(self, run_dir: Path) -> Path:
        """The folder that the trained policy is written to."""

    @abstractmethod
    def agent(self, start: Path, *, vocab_size: int) -> "ActorCriticLM":
        """The policy to train, with the critic it needs."""

    @abstractmethod
    def make(
        self, agent: "ActorCriticLM", env: "TextGenVectorEnv", **options: Unpack["OnPolicyOptions"]
    ) -> "OnPolicyAlgorithm":
        """The algorithm, with its own options beside those that all share."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Trains, writes checkpoints and the policy; the metrics are those of the last rollout."""
        require_at_least(1, n_updates=self.n_updates, n_prompts=self.n_prompts, max_new_tokens=self.max_new_tokens)
        require_at_least(0, kl_coef=self.kl_coef)
        require_above(0, learning_rate=self.learning_rate)
        start = existing_model(self.policy or run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")
        judge = existing_model(
            self.reward_model or run_dir / "reward_model", made_by=f"textrl reward-model --run-dir {run_dir}"
        )
        prompts = self._prompts(seed)
        tokenizer = fitting_tokenizer(start, prompts, max_new_tokens=self.max_new_tokens)

        from stable_baselines3.common.callbacks import BaseCallback

        from textrl_env import TextGenVectorEnv
        from textrl_env.agents.callbacks import ShowProgress, TrackReward
        from textrl_env.agents.checkpoint import writing
        from textrl_env.reference import FrozenReference
        from textrl_env.reward_models import ModelReward, RewardModel

        agent = self.agent(start, vocab_size=len(tokenizer))
        reference = FrozenReference(agent.policy, vocab_size=len(tokenizer))
        in_reward = self.kl_in == "reward"
        # With a coefficient of 0 the environment measures the KL and charges nothing.
        shaping = KLShaping(self.kl_coef if in_reward else 0.0, mode="sampled", estimator="k1", pay="episode")
        env = TextGenVectorEnv(
            prompts, ModelReward(RewardModel.from_pretrained(judge)), tokenizer, num_envs=self.n_episodes,
            autoreset_mode="Disabled", max_new_tokens=self.max_new_tokens, kl=shaping, reference=reference,
        )  # fmt: skip
        out, exported = run_dir / self.folder, self.exported(run_dir)
        algorithm = self.make(
            agent, env, learning_rate=lambda remaining: self.learning_rate * (0.1 + 0.9 * remaining),
            n_episodes=self.n_episodes, batch_size=self.batch_size, kl_loss_coef=0.0 if in_reward else self.kl_coef,
            reference=reference, log_dir=out, seed=seed,
        )  # fmt: skip
        callbacks: list[BaseCallback] = [ShowProgress(self.n_updates), self.checkpoints.callback(out)]
        if self.prompts is None:
            callbacks.append(TrackReward("gold", support_desk.gold_reward))
        self.checkpoints.resumed(algorithm, out, total_updates=self.n_updates)
        with Interrupt() as stop, writing(run_dir):
            algorithm.learn(callback=callbacks, should_stop=stop)
            agent.policy.save_pretrained(exported)
            tokenizer.save_pretrained(exported)
        if stop.requested:
            raise Stopped(
                f"stopped after update {algorithm.n_updates}; saved in {exported} and {algorithm.last_checkpoint}; "
                "go on with --resume auto",
                stop.exit_code,
            )
        return {
            "n_updates": algorithm.n_updates,
            "score": algorithm.logged["objective/scores"],
            "kl": algorithm.logged["objective/kl"],
        }

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        exported = self.exported(run_dir)
        yield (
            f"{metrics['n_updates']} updates; the last completions score {metrics['score']:+.2f} at a KL of "
            f"{metrics['kl']:.1f} nats; the policy is in {exported}, curves in {run_dir / self.folder}"
        )
        command = f"next: textrl evaluate --run-dir {run_dir}"
        if exported != run_dir / "policy":
            command += f" --policy {exported}"
        yield command + (" --prompts HELDOUT.jsonl" if self.prompts else "")

    def _prompts(self, seed: int) -> PromptDataset:
        if self.prompts is not None:
            return PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
        rows = support_desk.prompts(self.n_prompts, seed=seed + 2000)
        return PromptDataset.of([row["prompt"] for row in rows])
