"""A policy trained in the vector environment, held to the SFT model: what every on-policy algorithm's stage shares."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textrl_env.data import OnBadRow, PromptDataset, PromptIds
from textrl_env.errors import require_above, require_at_least
from textrl_env.mdp import KLShaping
from textrl_env.pipeline import default_data
from textrl_env.pipeline.callbacks import build_callbacks
from textrl_env.pipeline.report_card import require_passed
from textrl_env.pipeline.reward_model import require_start
from textrl_env.pipeline.runs import (
    CheckpointOptions,
    StageStoppedError,
    command_line,
    encode_fitting_prompts,
    read_json,
    require_model,
)
from textrl_env.reward_models.model import require_pessimism
from textrl_env.training import Interrupt

if TYPE_CHECKING:
    from textrl_env.agents import ActorCriticLM, OnPolicyAlgorithm
    from textrl_env.agents.policy import ModelCard
    from textrl_env.mdp import TextGenVectorEnv
    from textrl_env.reference import FrozenReference


@dataclass(frozen=True)
class PolicyOptions:
    """Options of every on-policy algorithm."""

    policy: Path | None = None
    """Causal LM to start from and stay near; else RUN/sft."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model."""
    pessimism: float | Literal["minimum"] = 0.0
    """Of an ensemble: deviations below its mean."""
    allow_failed_reward_model: bool = False
    """Train though its report card says failed."""
    prompts: Path | None = None
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
    heldout: Path | None = None
    """Prompts to evaluate on; by default the support desk's, or none with `prompts` of yours."""
    watch_every: int = 10
    """Updates between evaluations and verdicts."""
    max_kl: float | None = None
    """Ends when a rollout's KL is larger, in nats a completion."""
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    """How often to save, and where to go on."""

    @property
    def folder(self) -> str:
        """The stage's folder in the run's."""
        raise NotImplementedError

    @property
    def exports(self) -> str:
        """The folder of the trained policy in the run's."""
        return f"{self.folder}/policy"


@dataclass(frozen=True)
class PolicyInputs:
    """The models and prompts that a policy is trained with.

    Attributes:
        start: folder of the causal LM to start from.
        judge: folder of the reward model.
        prompts: to train on, encoded by the tokenizer of `start`; all fit the model's context.
        heldout: to evaluate on, if any; encoded by the same tokenizer.
    """

    start: Path
    judge: Path
    prompts: PromptIds
    heldout: PromptIds | None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the model to start from."""
        return self.prompts.tokenizer


BuildAgent = Callable[[PolicyInputs], "ActorCriticLM"]
"""Makes the policy to train, with the critic it needs."""


def train_policy(
    options: PolicyOptions,
    run_dir: Path,
    seed: int,
    *,
    build_agent: BuildAgent,
    algorithm: Callable[..., "OnPolicyAlgorithm"],
) -> dict[str, Any]:
    """Trains a policy, writes its checkpoints, curves and the policy itself.

    Args:
        options: of the stage.
        run_dir: the run's folder.
        seed: of everything random.
        build_agent: makes the policy from the inputs.
        algorithm: a class of `textrl_env.agents`, its own options bound; called with the agent, the environment and
            the options that all algorithms share.

    Returns:
        The number of updates, and score and KL of the last rollout.

    Raises:
        InputError: an option or a row is wrong, or a model is missing; it is named.
        StageStoppedError: a signal ended the training; the policy so far is saved.
    """
    check_options(options)
    inputs = find_inputs(options, run_dir, seed)

    from textrl_env.reference import FrozenReference
    from textrl_env.reward_models.model import load_reward
    from textrl_env.training.checkpoints import writing

    reward = load_reward(inputs.judge, pessimism=options.pessimism)
    agent = build_agent(inputs)
    reference = FrozenReference(agent.policy, vocab_size=len(inputs.tokenizer))
    env = build_env(options, inputs, reward, reference)
    out = run_dir / options.folder
    trainer = algorithm(
        agent,
        env,
        learning_rate=lambda remaining: options.learning_rate * (0.1 + 0.9 * remaining),
        n_episodes=options.n_episodes,
        batch_size=options.batch_size,
        kl_loss_coef=options.kl_coef if options.kl_in == "loss" else 0.0,
        reference=reference,
        log_dir=out,
        seed=seed,
    )
    exporter = PolicyExporter(inputs.tokenizer, build_card(options, inputs, trainer, seed), options.max_new_tokens)
    callbacks = build_callbacks(
        default_data.gold_reward if options.prompts is None else None,
        inputs.heldout,
        best=out / "best",
        export=lambda policy, folder: exporter.export(policy, folder, _read_evaluation(trainer)),
        every=options.watch_every,
        max_kl=options.max_kl,
        seed=seed,
    )
    options.checkpoints.resume_algorithm(trainer, out, total_updates=options.n_updates)
    exports = run_dir / options.exports
    with Interrupt() as stop, writing(run_dir):
        trainer.learn(callback=[*callbacks, options.checkpoints.callback(out)], should_stop=stop)
        metrics = {"score": trainer.state.last_row["objective/scores"], "kl": trainer.state.last_row["objective/kl"]}
        policy = agent.whole_policy()
        trainer.processes.by_writer(lambda: exporter.export(policy, exports, metrics))
    if stop.requested or trainer.interrupted:
        raise StageStoppedError(
            f"stopped after update {trainer.n_updates}; saved in {exports} and {trainer.last_checkpoint}; "
            "go on with --resume auto",
            stop.exit_code,
        )
    return {"n_updates": trainer.n_updates, **metrics}


def check_options(options: PolicyOptions) -> None:
    """Raises InputError naming the first option that is out of range."""
    require_at_least(1, n_updates=options.n_updates, n_prompts=options.n_prompts, max_new_tokens=options.max_new_tokens)
    require_at_least(1, watch_every=options.watch_every)
    require_at_least(0, kl_coef=options.kl_coef)
    require_above(0, learning_rate=options.learning_rate)
    require_pessimism(options.pessimism)
    if options.max_kl is not None:
        require_above(0, max_kl=options.max_kl)


def find_inputs(options: PolicyOptions, run_dir: Path, seed: int) -> PolicyInputs:
    """Returns the models and prompts to train with, each known to be there and to fit; nothing large is loaded."""
    own_data = options.prompts is not None
    start = require_start(options.policy, run_dir, own_data=own_data, kind="language model")
    judge = require_model(
        options.reward_model or run_dir / "reward_model",
        made_by=f"textrl reward-model --run-dir {run_dir}" + (" --preferences YOURS.jsonl" if own_data else ""),
        kind="reward model",
    )
    require_passed(judge, allow_failed=options.allow_failed_reward_model)
    if not own_data:
        _warn_of_other_data(judge)
    prompts, heldout = read_prompts(options, seed), _read_heldout(options, seed)
    limit = options.max_new_tokens
    prompt_ids = encode_fitting_prompts(start, prompts, max_new_tokens=limit)
    heldout_ids = None
    if heldout is not None:
        heldout_ids = encode_fitting_prompts(start, heldout, max_new_tokens=limit, tokenizer=prompt_ids.tokenizer)
    return PolicyInputs(start, judge, prompt_ids, heldout_ids)


def read_prompts(options: PolicyOptions, seed: int) -> PromptDataset:
    """Returns the prompts to train on."""
    if options.prompts is not None:
        return PromptDataset.from_file(options.prompts, on_bad_row=options.on_bad_row)
    return default_data.draw_training_prompts(options.n_prompts, seed=seed)


def build_env(
    options: PolicyOptions, inputs: PolicyInputs, reward: Any, reference: "FrozenReference"
) -> "TextGenVectorEnv":
    """Returns the environment: a slot an episode, the KL paid at its end."""
    from textrl_env.mdp import TextGenVectorEnv

    # With a coefficient of 0 the environment measures the KL and charges nothing.
    coefficient = options.kl_coef if options.kl_in == "reward" else 0.0
    return TextGenVectorEnv(
        inputs.prompts,
        reward,
        inputs.tokenizer,
        num_envs=options.n_episodes,
        autoreset_mode="Disabled",
        max_new_tokens=options.max_new_tokens,
        kl=KLShaping(coefficient, mode="sampled", estimator="k1", pay="episode"),
        reference=reference,
    )


def build_card(options: PolicyOptions, inputs: PolicyInputs, trainer: "OnPolicyAlgorithm", seed: int) -> "ModelCard":
    """Returns what a reader of the exported model's page must know, without figures."""
    from textrl_env.agents.policy import ModelCard

    pessimism = f", pessimism {options.pessimism}" if options.pessimism else ""
    return ModelCard(
        method=type(trainer).__name__,
        base=str(inputs.start),
        seed=seed,
        command=command_line(),
        data=str(options.prompts or f"prompts of {default_data.NAME}"),
        reward=f"the reward model in {inputs.judge}{pessimism}",
        kl=f"{options.kl_coef} per nat of KL to {inputs.start}, in the {options.kl_in}",
    )


@dataclass(frozen=True)
class PolicyExporter:
    """Writes a policy with its tokenizer, its card and the length it was trained to write."""

    tokenizer: Any
    card: "ModelCard"
    max_new_tokens: int

    def export(self, policy: Any, folder: Path, metrics: Mapping[str, float]) -> None:
        """Writes the policy to a folder, with these figures in its card."""
        from textrl_env.agents.policy import export_policy

        card = replace(self.card, metrics=metrics)
        export_policy(folder, policy, self.tokenizer, card, max_new_tokens=self.max_new_tokens)


def _read_evaluation(trainer: "OnPolicyAlgorithm") -> dict[str, float]:
    """Returns the figures of the evaluation that was just logged."""
    figures = trainer.logger.name_to_value.items()
    return {tag: value for tag, value in figures if tag.startswith("eval/") and tag != "eval/samples"}


def _read_heldout(options: PolicyOptions, seed: int) -> PromptDataset | None:
    if options.heldout is not None:
        return PromptDataset.from_file(options.heldout, on_bad_row=options.on_bad_row)
    return default_data.draw_watching_prompts(seed=seed) if options.prompts is None else None


def _warn_of_other_data(judge: Path) -> None:
    """Warns where the reward model learnt from the user's preferences, but the prompts are the default ones."""
    manifest = judge / "manifest.json"
    config = read_json(manifest).get("config", {}) if manifest.is_file() else {}
    if preferences := config.get("preferences"):
        warnings.warn(
            f"{judge} learnt from {preferences}, but the prompts are the support desk's; give yours with --prompts",
            stacklevel=3,
        )
