"""A policy trained in the vector environment, held to the SFT model: the part that every on-policy algorithm shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textrl_env.data.text import end_token_ids
from textrl_env.files import writing
from textrl_env.mdp import KLShaping
from textrl_env.pipeline import default_data
from textrl_env.pipeline.policy_inputs import PolicyInputs, PolicyOptions, describe_inputs, find_inputs
from textrl_env.pipeline.resume import resume_algorithm
from textrl_env.pipeline.runs import StageStoppedError, command_line, forget_results
from textrl_env.training import Interrupt

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback

    from textrl_env.agents import ActorCriticLM, OnPolicyAlgorithm
    from textrl_env.agents.policy import ModelCard
    from textrl_env.mdp import TextGenVectorEnv
    from textrl_env.reference import FrozenReference


def train_policy(
    options: PolicyOptions,
    run_dir: Path,
    seed: int,
    *,
    build_agent: Callable[[PolicyInputs], "ActorCriticLM"],
    algorithm: Callable[..., "OnPolicyAlgorithm"],
) -> dict[str, Any]:
    """Trains a policy, writes its checkpoints, curves and the policy itself.

    Args:
        options: of the stage.
        run_dir: the run's folder.
        seed: of everything random.
        build_agent: makes the policy from the inputs, with the critic it needs.
        algorithm: a class of `textrl_env.agents`, its own options bound; called with the agent, the environment and
            the options that all algorithms share.

    Returns:
        The number of updates, and score and KL of the last rollout.

    Raises:
        InputError: a row is wrong or too long, or a model is missing; it is named.
        StageStoppedError: a signal ended the training; the policy so far is saved.
    """
    inputs = find_inputs(options, run_dir, seed)
    experiment = describe_inputs(options, inputs, seed)
    out, exports = run_dir / options.folder, run_dir / options.exports
    checkpoint = options.checkpoints.start(out, experiment)

    from textrl_env.reference import FrozenReference
    from textrl_env.reward_models.model import load_reward

    reward = load_reward(inputs.judge, pessimism=options.pessimism)
    agent = build_agent(inputs)
    reference = FrozenReference(agent.policy, vocab_size=len(inputs.tokenizer))
    trainer = algorithm(
        agent,
        build_env(options, inputs, reward, reference),
        learning_rate=lambda remaining: options.learning_rate * (0.1 + 0.9 * remaining),
        n_episodes=options.n_episodes,
        batch_size=options.batch_size,
        kl_loss_coef=options.kl_coef if options.kl_in == "loss" else 0.0,
        reference=reference,
        log_dir=out,
        seed=seed,
    )
    card = build_card(options, inputs, method=type(trainer).__name__, seed=seed)
    exporter = PolicyExporter(inputs.tokenizer, card, options.max_new_tokens, choose_end_ids(options, inputs))

    def export_best(policy: Any, folder: Path) -> None:
        exporter.export(policy, folder, _read_evaluation(trainer))

    callbacks = build_callbacks(options, inputs, best=out / "best", export=export_best, seed=seed)
    trainer.experiment = experiment
    resume_algorithm(trainer, checkpoint, total_updates=options.n_updates)
    with Interrupt() as stop, writing(run_dir):
        trainer.learn(callback=[*callbacks, options.checkpoints.callback(out)], should_stop=stop)
        last_row = trainer.state.last_row
        # A signal before the end of the first update leaves none.
        tags = {"score": "objective/scores", "kl": "objective/kl"}
        metrics = {name: last_row[tag] for name, tag in tags.items() if tag in last_row}
        policy = agent.whole_policy()

        def export() -> None:
            forget_results(out)
            exporter.export(policy, exports, metrics)

        trainer.processes.by_writer(export)
    if stop.requested or trainer.interrupted:
        places = f"{exports} and {trainer.last_checkpoint}" if trainer.last_checkpoint else exports
        raise StageStoppedError(
            f"stopped after update {trainer.n_updates}; saved in {places}; go on with --resume auto",
            stop.exit_code,
        )
    return {"n_updates": trainer.n_updates, **metrics}


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
        eos_token_ids=choose_end_ids(options, inputs),
        kl=KLShaping(coefficient, mode="sampled", estimator="k1", pay="episode"),
        reference=reference,
    )


def choose_end_ids(options: PolicyOptions, inputs: PolicyInputs) -> tuple[int, ...]:
    """Returns the tokens that end a completion: the user's, else those of the model to start from."""
    if options.eos_token_ids is not None:
        return options.eos_token_ids
    return end_token_ids(inputs.tokenizer, inputs.start)


def build_callbacks(
    options: PolicyOptions,
    inputs: PolicyInputs,
    *,
    best: Path,
    export: Callable[[Any, Path], None],
    seed: int,
) -> "list[BaseCallback]":
    """Returns what watches the training, in the order in which the callbacks need each other.

    Without held-out prompts nothing is evaluated and no best policy chosen; with prompts of the user there is no gold
    reward.

    Args:
        options: of the stage.
        inputs: the prompts.
        best: folder of the best policy.
        export: writes a policy to a folder.
        seed: of the evaluation.
    """
    from textrl_env.agents.callbacks import (
        EvaluateOnPrompts,
        HackingAlarm,
        KeepBest,
        LogSamples,
        SayVerdict,
        ShowProgress,
        StopOnKL,
        TrackReward,
    )

    every = options.watch_every
    judges = {"gold": default_data.gold_reward} if options.prompts is None else {}
    callbacks: list[BaseCallback] = [ShowProgress(), LogSamples(every), SayVerdict(every)]
    if judges:
        callbacks += [TrackReward("gold", judges["gold"]), HackingAlarm()]
    if inputs.heldout is not None:
        # The best by the objective, not by gold: a run must not choose by what it is judged by.
        callbacks += [
            EvaluateOnPrompts(inputs.heldout, judges, every_updates=every, seed=seed),
            KeepBest(best, export=export),
        ]
        if not judges:
            callbacks.append(HackingAlarm("eval/score", window=8))
    if options.max_kl is not None:
        callbacks.append(StopOnKL(options.max_kl))
    return callbacks


def build_card(options: PolicyOptions, inputs: PolicyInputs, *, method: str, seed: int) -> "ModelCard":
    """Returns what a reader of the exported model's page must know, without figures."""
    from textrl_env.agents.policy import ModelCard

    start = options.policy or inputs.start
    pessimism = f", pessimism {options.pessimism}" if options.pessimism else ""
    return ModelCard(
        method=method,
        base=str(start),
        seed=seed,
        command=command_line(),
        data=str(options.prompts or f"prompts of {default_data.NAME}"),
        reward=f"the reward model in {inputs.judge}{pessimism}",
        kl=f"{options.kl_coef} per nat of KL to {start}, in the {options.kl_in}",
    )


@dataclass(frozen=True)
class PolicyExporter:
    """Writes a policy with its tokenizer, its card, the length it was trained to write and the tokens that ended it."""

    tokenizer: Any
    card: "ModelCard"
    max_new_tokens: int
    eos_token_ids: tuple[int, ...]

    def export(self, policy: Any, folder: Path, metrics: Mapping[str, float]) -> None:
        """Writes the policy to a folder, with these figures in its card."""
        from textrl_env.agents.policy import export_policy

        card = replace(self.card, metrics=metrics)
        export_policy(
            folder,
            policy,
            self.tokenizer,
            card,
            max_new_tokens=self.max_new_tokens,
            eos_token_ids=self.eos_token_ids,
        )


def _read_evaluation(trainer: "OnPolicyAlgorithm") -> dict[str, float]:
    """Returns the figures of the evaluation that was just logged."""
    figures = trainer.logger.name_to_value.items()
    return {tag: value for tag, value in figures if tag.startswith("eval/") and tag != "eval/samples"}
