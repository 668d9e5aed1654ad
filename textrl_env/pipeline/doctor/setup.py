"""The training setup that is examined: files are read at once, models and episodes when they are first asked for."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from textrl_env.agents import ActorCriticLM
from textrl_env.data import PromptDataset
from textrl_env.data.text import encode_prompt, end_token_ids
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.lm import context_length, load_config, load_model, load_tokenizer
from textrl_env.lm.loading import load_generation_config
from textrl_env.mdp import KLShaping
from textrl_env.pipeline import default_data
from textrl_env.pipeline.doctor.episodes import RecordingEnv, SampledEpisodes, sample_episodes
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import ModelReward, RewardModel

N_PROMPTS = 64
KL_COEF = 1.0
GENERATION_FILE = "generation_config.json"
DType = Literal["float32", "bfloat16"]
# Two ways to compute one log-probability differ by rounding: on SmolLM2 by 2e-5 in float32 and 0.06 in bfloat16.
TOLERANCE: dict[DType, float] = {"float32": 1e-3, "bfloat16": 0.1}


@dataclass(frozen=True, eq=False)
class ModelFiles:
    """Facts from a model's folder that need no weights; `end_ids` are those that its configurations name."""

    name: str
    folder: Path
    tokenizer: Any
    vocab_size: int
    context: int | None
    end_ids: frozenset[int]
    generation: dict[str, Any]

    @classmethod
    def read(cls, name: str, folder: Path) -> "ModelFiles":
        """Reads a folder; InputError where its configuration or tokenizer cannot be read."""
        try:
            config = load_config(folder).get_text_config()
            context = context_length(config)
            tokenizer = load_tokenizer(folder, pads=False)
            has_settings = (folder / GENERATION_FILE).is_file()
            generation = load_generation_config(folder).to_diff_dict() if has_settings else {}
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(
                f"{folder}: no {name} can be read here, expected a folder with a model and its tokenizer "
                f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            ) from None
        settings = [config.eos_token_id, generation.get("eos_token_id")]
        end_ids = {end for ids in settings for end in (ids if isinstance(ids, list) else [ids]) if end is not None}
        return cls(name, folder, tokenizer, config.vocab_size, context, frozenset(end_ids), generation)


class TrainingSetup:
    """A policy, and the reference, reward model and prompts that it is to be trained with.

    Args:
        policy: the folder of a causal LM.
        reference: the folder of another one; None means a frozen copy of the policy, as PPO takes.
        reward_model: its folder, or None where there is none yet.
        prompts: a file; None means prompts of the support desk.
        max_new_tokens: longest completion, in tokens.
        eos_token_ids: the tokens that end one; None for the policy's own.
        dtype: of the models.
        seed: of the sampled episodes.

    Raises:
        InputError: a file that cannot be read, or no prompt that fits.
    """

    def __init__(
        self,
        policy: Path,
        *,
        reference: Path | None = None,
        reward_model: Path | None = None,
        prompts: Path | None = None,
        max_new_tokens: int = 49,
        eos_token_ids: Sequence[int] | None = None,
        dtype: DType = "float32",
        seed: int = 0,
    ) -> None:
        require_count(1, max_new_tokens=max_new_tokens)
        require_seed(seed)
        self.max_new_tokens, self.seed = max_new_tokens, seed
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.tolerance = TOLERANCE[dtype]
        self.policy = ModelFiles.read("policy", policy)
        self.reference = ModelFiles.read("reference", reference) if reference else None
        self.reward_model = ModelFiles.read("reward model", reward_model) if reward_model else None
        own_ends = end_token_ids(self.policy.tokenizer, policy)
        self.eos_token_ids = own_ends if eos_token_ids is None else tuple(eos_token_ids)
        self.from_file = prompts is not None
        self.prompts, self.bad_rows = (
            _read_prompts(prompts) if prompts else (default_data.draw_examined_prompts(N_PROMPTS, seed=seed), "")
        )
        self.lengths = {
            files: np.array([len(encode_prompt(files.tokenizer, text)) for text in self.prompts.prompts])
            for files in self.models
        }
        self.sample = self._select_prompts()

    @property
    def models(self) -> list[ModelFiles]:
        """The models there are, the policy first."""
        return [files for files in (self.policy, self.reference, self.reward_model) if files is not None]

    def room(self, files: ModelFiles) -> float:
        """The most tokens of a prompt that leave room for a completion, `inf` without a limit.

        The reward model reads the end token too.
        """
        return (inf if files.context is None else files.context) - self.max_new_tokens - (files is self.reward_model)

    def misfits(self, files: ModelFiles) -> np.ndarray:
        """Indices of the prompts that have no token or leave no room."""
        lengths = self.lengths[files]
        return np.flatnonzero((lengths == 0) | (lengths > self.room(files)))

    @cached_property
    def agent(self) -> ActorCriticLM:
        """The policy and its critic; a critic's head starts at zero, which would hide every fault of its trunk."""
        agent = ActorCriticLM.from_pretrained(
            self.policy.folder, vocab_size=len(self.policy.tokenizer), dtype=self.dtype
        )
        assert agent.value_head is not None
        head = agent.value_head.weight
        noise = torch.randn(head.shape, generator=torch.Generator().manual_seed(require_seed(self.seed)))
        head.data = noise / head.shape[1] ** 0.5
        return agent

    @cached_property
    def frozen_reference(self) -> FrozenReference:
        """The reference as the environment holds it."""
        model = self.agent.policy
        if self.reference is not None:
            model = load_model(AutoModelForCausalLM, self.reference.folder, dtype=self.dtype)
        return FrozenReference(model, vocab_size=len(self.policy.tokenizer))

    @cached_property
    def judge(self) -> RewardModel | None:
        """The reward model, its head drawn from seed 0 where its folder holds none."""
        if self.reward_model is None:
            return None
        return RewardModel.from_pretrained(self.reward_model.folder, dtype=self.dtype, seed=0)

    @cached_property
    def judge_texts(self) -> tuple[list[str], list[str]]:
        """16 prompts of all lengths and as many ragged completions: beginnings of other prompts, 4 bytes a token."""
        prompts = list(self.sample.prompts[:: max(1, len(self.sample) // 16)][:16])
        return prompts, [text[: place % (self.max_new_tokens // 4 + 1)] for place, text in enumerate(prompts[::-1])]

    @cached_property
    def episodes(self) -> SampledEpisodes:
        """48 episodes that score nothing and pay the KL at a coefficient of 1."""
        return self._sample_episodes(lambda prompts, completions: [0.0] * len(prompts), n=48)

    @cached_property
    def scored_episodes(self) -> SampledEpisodes:
        """12 episodes, scored by the reward model, or without one by their length in characters."""
        if self.judge is None:
            return self._sample_episodes(lambda prompts, completions: [float(len(text)) for text in completions], n=12)
        return self._sample_episodes(ModelReward(self.judge), n=12)

    def _sample_episodes(self, reward: Any, *, n: int) -> SampledEpisodes:
        """Samples n episodes in half as many slots, so that slots are refilled; the KL is paid by episode."""
        env = RecordingEnv(
            self.sample,
            reward,
            self.policy.tokenizer,
            num_envs=n // 2,
            autoreset_mode="Disabled",
            max_new_tokens=self.max_new_tokens,
            eos_token_ids=self.eos_token_ids,
            kl=KLShaping(KL_COEF, mode="sampled", estimator="k1", pay="episode"),
            reference=self.frozen_reference,
        )
        return sample_episodes(env, self.agent, n, seed=self.seed)

    def _select_prompts(self) -> PromptDataset:
        """Returns up to 64 prompts that fit every model, from the shortest to the longest."""
        misfits = {int(place) for files in self.models for place in self.misfits(files)}
        fitting = sorted(set(range(len(self.prompts))) - misfits, key=lambda place: self.lengths[self.policy][place])
        if not fitting:
            reasons = (
                f"{files.folder} makes {self.lengths[files].min()} to {self.lengths[files].max()} tokens of a prompt "
                f"and has room for {max(0, self.room(files))}"
                for files in self.models
            )
            raise InputError(
                f"no prompt fits with max_new_tokens {self.max_new_tokens}: {'; '.join(reasons)}; lower "
                "max_new_tokens, shorten the prompts, or put the tokenizer into a folder that makes 0"
            )
        places = np.unique(np.linspace(0, len(fitting) - 1, N_PROMPTS).round().astype(int))
        return PromptDataset.of([self.prompts.prompts[fitting[place]] for place in places])


def _read_prompts(path: Path) -> tuple[PromptDataset, str]:
    """Returns the usable rows of a file, and what is wrong with the others."""
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        dataset = PromptDataset.from_file(path, on_bad_row="skip")
    return dataset, "; ".join(str(warning.message) for warning in messages)
