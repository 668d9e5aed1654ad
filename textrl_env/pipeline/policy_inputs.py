"""Options of on-policy training, and the models and prompts that they name: found and checked before it starts."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from textrl_env.data import OnBadRow, PromptDataset, PromptIds, warn_of_shared_prompts
from textrl_env.errors import require_above, require_at_least, require_count, require_seed
from textrl_env.lm import resolve_model
from textrl_env.pipeline import default_data
from textrl_env.pipeline.generation import EndTokenOptions
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.report_card import require_passed
from textrl_env.pipeline.resume import CheckpointOptions, describe_experiment
from textrl_env.pipeline.runs import encode_fitting_prompts, read_json, require_model, require_start
from textrl_env.reward_models.model import require_pessimism


@dataclass(frozen=True)
class PolicyOptions(EndTokenOptions, ABC):
    """Options of every on-policy algorithm."""

    policy: Path | None = None
    """Causal LM to start from and stay near; else RUN/sft."""
    reward_model: Path | None = None
    """The reward model; by default RUN/reward_model."""
    pessimism: float | Literal["minimum"] = 0.0
    """Of an ensemble: deviations below its mean."""
    allow_failed_reward_model: bool = False
    """Train though its report card says failed."""
    prompts: InputFile | None = None
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
    """Of a minibatch; divides n_episodes."""
    learning_rate: float = 1e-3
    """Adam's; it falls linearly to a tenth."""
    kl_coef: float = 0.1
    """Score given up per nat of KL."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Charge the KL in the reward, or in the loss."""
    heldout: InputFile | None = None
    """To evaluate on; else the support desk's, none for yours."""
    watch_every: int = 10
    """Updates between evaluations and verdicts."""
    max_kl: float | None = None
    """Ends when a rollout's KL is larger, in nats a completion."""
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    """How often to save, and where to go on."""

    def __post_init__(self) -> None:
        require_count(1, n_updates=self.n_updates, n_prompts=self.n_prompts, max_new_tokens=self.max_new_tokens)
        require_count(1, n_episodes=self.n_episodes, batch_size=self.batch_size, watch_every=self.watch_every)
        require_at_least(0, kl_coef=self.kl_coef)
        require_above(0, learning_rate=self.learning_rate)
        require_pessimism(self.pessimism)
        if self.max_kl is not None:
            require_above(0, max_kl=self.max_kl)

    @property
    @abstractmethod
    def folder(self) -> str:
        """The stage's folder in the run's."""

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


def find_inputs(options: PolicyOptions, run_dir: Path, seed: int) -> PolicyInputs:
    """Returns the models and prompts to train with, each known to be there and to fit; nothing large is loaded."""
    require_seed(seed)
    own_data = options.prompts is not None
    start = require_start(options.policy, run_dir, own_data=own_data, kind="language model")
    judge = require_model(
        options.reward_model,
        run_dir / "reward_model",
        made_by=f"textrl reward-model --run-dir {run_dir}" + (" --preferences YOURS.jsonl" if own_data else ""),
        kind="reward model",
    )
    require_passed(judge, allow_failed=options.allow_failed_reward_model)
    if not own_data:
        _warn_of_other_data(judge)
    prompts, heldout = read_prompts(options, seed), _read_heldout(options, seed)
    limit = options.max_new_tokens
    encode = partial(encode_fitting_prompts, start, max_new_tokens=limit, on_bad_row=options.on_bad_row)
    prompt_ids = encode(prompts)
    heldout_ids = None
    if heldout is not None:
        heldout_ids = encode(heldout, tokenizer=prompt_ids.tokenizer)
    if own_data and heldout is not None:
        warn_of_shared_prompts(prompts.prompts, heldout.prompts, source=str(options.heldout))
    return PolicyInputs(start, judge, prompt_ids, heldout_ids)


def describe_inputs(options: PolicyOptions, inputs: PolicyInputs, seed: int) -> dict[str, Any]:
    """Returns the experiment: the options, the prompts, and the models that it starts from and is judged by."""
    critic_start: Path | None = getattr(options, "critic_from", None)
    models = {
        "policy": inputs.start,
        "reward_model": inputs.judge,
        "critic_from": critic_start and resolve_model(critic_start),
    }
    files = {"prompts": options.prompts, "heldout": options.heldout}
    return describe_experiment(options, seed, files=files, models=models)


def read_prompts(options: PolicyOptions, seed: int) -> PromptDataset:
    """Returns the prompts to train on."""
    if options.prompts is not None:
        return PromptDataset.from_file(options.prompts, on_bad_row=options.on_bad_row).without_columns()
    return default_data.draw_training_prompts(options.n_prompts, seed=seed)


def _read_heldout(options: PolicyOptions, seed: int) -> PromptDataset | None:
    if options.heldout is not None:
        return PromptDataset.from_file(options.heldout, on_bad_row=options.on_bad_row).without_columns()
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
