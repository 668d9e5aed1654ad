"""What `textrl ppo` and `textrl train` share: a policy trained in the vector environment, held to the SFT model."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tyro

from textrl_env.cli.checkpoints import Checkpoints
from textrl_env.cli.fitting import fitting_tokenizer
from textrl_env.cli.memory import Footprint, longest_tokens
from textrl_env.cli.optional import OptionalFloat, OptionalPath, Switch
from textrl_env.cli.report_card.gate import require_passed
from textrl_env.cli.run_folder import existing_model, options_of
from textrl_env.cli.stage import Stopped, command_line
from textrl_env.cli.watching import watching
from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.errors import require_above, require_at_least
from textrl_env.mdp import KLShaping
from textrl_env.reward_models.model import require_pessimism
from textrl_env.training import Interrupt
from textrl_env.worlds import support_desk

if TYPE_CHECKING:
    from textrl_env.agents import ActorCriticLM, OnPolicyAlgorithm
    from textrl_env.mdp import TextGenVectorEnv


@dataclass(frozen=True)
class TrainOnPolicy(ABC):
    """The options of every on-policy algorithm."""

    policy: OptionalPath = None
    """Causal LM to start from and stay near; else RUN/sft."""
    reward_model: OptionalPath = None
    """The reward model; by default RUN/reward_model."""
    pessimism: Annotated[float | Literal["minimum"], tyro.conf.arg(metavar="FLOAT|minimum")] = 0.0
    """Of an ensemble: deviations below its mean."""
    allow_failed_reward_model: Switch = False
    """Train though its report card says failed."""
    prompts: OptionalPath = None
    """Prompts' file; else the support desk's, with gold scores."""
    on_bad_row: OnBadRow = "error"
    """End at a bad row, or leave it out."""
    n_prompts: int = 4000
    """How many prompts of the support desk."""
    max_new_tokens: int = 49
    """Longest completion, in tokens."""
    n_updates: int = 70
    """Updates of the policy."""
    n_episodes: int = 64
    """Completions per update."""
    batch_size: int = 32
    """Completions a minibatch; divides n_episodes."""
    learning_rate: float = 1e-3
    """Adam's; it falls linearly to a tenth."""
    kl_coef: float = 0.1
    """Score given up per nat of KL."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Charge the KL in the environment's reward, or in the loss, blind to where a token leads."""
    heldout: OptionalPath = None
    """Prompts to evaluate on; by default the support desk's, or none with `prompts` of yours."""
    watch_every: int = 10
    """Updates between evaluations and verdicts."""
    max_kl: OptionalFloat = None
    """Ends when a rollout's KL is larger, in nats a completion."""
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
    def make(self, agent: "ActorCriticLM", env: "TextGenVectorEnv", **options: Any) -> "OnPolicyAlgorithm":
        """The algorithm, with its own options beside those that all share."""

    @property
    @abstractmethod
    def n_trained(self) -> int:
        """Networks that are trained: the policy, and a critic that is one of its own."""

    def run(self, run_dir: Path, seed: int) -> dict[str, Any]:
        """Trains, writes checkpoints and the policy; the metrics are those of the last rollout."""
        require_at_least(1, n_updates=self.n_updates, n_prompts=self.n_prompts, max_new_tokens=self.max_new_tokens)
        require_at_least(1, watch_every=self.watch_every)
        require_at_least(0, kl_coef=self.kl_coef)
        require_above(0, learning_rate=self.learning_rate)
        require_pessimism(self.pessimism)
        if self.max_kl is not None:
            require_above(0, max_kl=self.max_kl)
        start = existing_model(
            self.policy or run_dir / "sft",
            made_by=f"textrl sft --run-dir {run_dir}" + (" --demonstrations YOURS.jsonl" if self.prompts else ""),
            kind="language model",
        )
        judge = existing_model(
            self.reward_model or run_dir / "reward_model",
            made_by=f"textrl reward-model --run-dir {run_dir}" + (" --preferences YOURS.jsonl" if self.prompts else ""),
            kind="reward model",
        )  # fmt: skip
        require_passed(judge, allow_failed=self.allow_failed_reward_model)
        if self.prompts is None and (learnt := options_of(judge).get("preferences")):
            warnings.warn(
                f"{judge} learnt from {learnt}, but the prompts are the support desk's; give yours with --prompts",
                stacklevel=2,
            )
        prompts, heldout = self._prompts(seed), self._heldout(seed)
        for dataset in filter(None, (prompts, heldout)):
            tokenizer = fitting_tokenizer(start, dataset, max_new_tokens=self.max_new_tokens)

        from textrl_env.agents.policy import ModelCard, export_policy
        from textrl_env.mdp import TextGenVectorEnv
        from textrl_env.reference import FrozenReference
        from textrl_env.reward_models.model import load_reward
        from textrl_env.training.checkpoints import writing

        reward = load_reward(judge, pessimism=self.pessimism)
        agent = self.agent(start, vocab_size=len(tokenizer))
        reference = FrozenReference(agent.policy, vocab_size=len(tokenizer))
        in_reward = self.kl_in == "reward"
        # With a coefficient of 0 the environment measures the KL and charges nothing.
        shaping = KLShaping(self.kl_coef if in_reward else 0.0, mode="sampled", estimator="k1", pay="episode")
        env = TextGenVectorEnv(
            prompts, reward, tokenizer, num_envs=self.n_episodes,
            autoreset_mode="Disabled", max_new_tokens=self.max_new_tokens, kl=shaping, reference=reference,
        )  # fmt: skip
        out, exported = run_dir / self.folder, self.exported(run_dir)
        algorithm = self.make(
            agent, env, learning_rate=lambda remaining: self.learning_rate * (0.1 + 0.9 * remaining),
            n_episodes=self.n_episodes, batch_size=self.batch_size, kl_loss_coef=0.0 if in_reward else self.kl_coef,
            reference=reference, log_dir=out, seed=seed,
        )  # fmt: skip
        judged = f", pessimism {self.pessimism}" if self.pessimism else ""
        card = ModelCard(
            method=type(algorithm).__name__, base=str(start), seed=seed, command=command_line(),
            data=str(self.prompts or "prompts of the support desk"), reward=f"the reward model in {judge}{judged}",
            kl=f"{self.kl_coef} per nat of KL to {start}, in the {self.kl_in}",
        )  # fmt: skip

        def export(policy: Any, folder: Path, measured: Mapping[str, float]) -> None:
            export_policy(
                folder, policy, tokenizer, replace(card, metrics=measured), max_new_tokens=self.max_new_tokens
            )

        def export_best(policy: Any, folder: Path) -> None:
            numbers = algorithm.logger.name_to_value.items()
            evaluated = {tag: value for tag, value in numbers if tag.startswith("eval/") and tag != "eval/samples"}
            export(policy, folder, evaluated)

        callbacks = watching(
            support_desk.gold_reward if self.prompts is None else None, heldout,
            best=out / "best", export=export_best, every=self.watch_every, max_kl=self.max_kl, seed=seed,
        )  # fmt: skip
        self.checkpoints.resumed(algorithm, out, total_updates=self.n_updates)
        with Interrupt() as stop, writing(run_dir):
            algorithm.learn(callback=[*callbacks, self.checkpoints.callback(out)], should_stop=stop)
            measured = {
                "score": algorithm.state.last_row["objective/scores"],
                "kl": algorithm.state.last_row["objective/kl"],
            }
            policy = agent.whole_policy()
            algorithm.processes.by_writer(lambda: export(policy, exported, measured))
        if stop.requested or algorithm.interrupted:
            raise Stopped(
                f"stopped after update {algorithm.n_updates}; saved in {exported} and {algorithm.last_checkpoint}; "
                "go on with --resume auto",
                stop.exit_code,
            )
        return {"n_updates": algorithm.n_updates, **measured}

    def outcome(self, run_dir: Path, metrics: dict[str, Any]) -> Iterator[str]:
        """Lines for the terminal."""
        exported = self.exported(run_dir)
        yield (
            f"{metrics['n_updates']} updates; the last completions score {metrics['score']:+.2f} at a KL of "
            f"{metrics['kl']:.1f} nats; the policy is in {exported}, curves in {run_dir / self.folder}"
        )
        if metrics["n_updates"] < self.n_updates:
            yield f"training ended before update {self.n_updates}: the KL came above max_kl {self.max_kl}"
        command = f"next: textrl evaluate --run-dir {run_dir}"
        if exported != run_dir / "policy":
            command += f" --policy {exported}"
        if self.policy:
            command += f" --reference {self.policy}"
        yield command + (" --prompts HELDOUT.jsonl" if self.prompts else "")

    @property
    def writes(self) -> tuple[str, ...]:
        """Folders of the run that the stage writes."""
        return (self.folder,)

    def rehearsals(self) -> tuple[Self, Self]:
        """One update of a minibatch, and three."""
        tiny = replace(self, n_updates=1, n_episodes=self.batch_size, n_prompts=min(self.n_prompts, 64))
        return tiny, replace(tiny, n_updates=3)

    def work(self, run_dir: Path) -> int:
        """Completions."""
        return self.n_updates * self.n_episodes

    def footprint(self, run_dir: Path) -> Footprint:
        """Policy, critic, reference and reward model; a minibatch in training, all slots in the cache."""
        policy = self.policy or run_dir / "sft"
        prompts = self._prompts(seed=0)
        length = self.max_new_tokens + longest_tokens(policy, [prompts.prompts[row] for row in prompts.longest(4)])
        return Footprint(
            trained=[policy] * self.n_trained,
            frozen=[policy, self.reward_model or run_dir / "reward_model"],
            training_tokens=self.batch_size * length,
            cached_tokens=self.n_episodes * length,
        )

    def _heldout(self, seed: int) -> PromptDataset | None:
        if self.heldout is not None:
            return PromptDataset.from_file(self.heldout, on_bad_row=self.on_bad_row)
        if self.prompts is not None:
            return None
        # 4000 is far from the seeds of training (2000) and of `textrl evaluate` (3000): three sets of prompts.
        rows = support_desk.prompts(64, seed=seed + 4000, split="heldout")
        return PromptDataset.of([row["prompt"] for row in rows])

    def _prompts(self, seed: int) -> PromptDataset:
        if self.prompts is not None:
            return PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
        rows = support_desk.prompts(self.n_prompts, seed=seed + 2000)
        return PromptDataset.of([row["prompt"] for row in rows])
