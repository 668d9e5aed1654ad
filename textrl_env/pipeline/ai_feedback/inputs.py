"""Inputs of AI feedback: the judge and its constitution, and replies to judge or to revise."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.data.text import Prompt, encode_prompt
from textrl_env.errors import InputError, require_count, require_seed
from textrl_env.pipeline import default_data
from textrl_env.pipeline.generation import EndTokenOptions
from textrl_env.pipeline.option_paths import InputFile
from textrl_env.pipeline.runs import encode_fitting_prompts, require_model
from textrl_env.reward_models.ai_feedback.judges import EndpointConfig

if TYPE_CHECKING:
    from textrl_env.reward_models.ai_feedback import Constitution
    from textrl_env.reward_models.ai_feedback.judges import EndpointJudge, Judge, LanguageModelReviser, Reviser


@dataclass(frozen=True)
class JudgeOptions:
    """The judge, and what it judges by."""

    judge: str = "rules"
    """`rules`, an LM's folder, or an endpoint."""
    constitution: InputFile | None = None
    """JSONL with principle, id, weight, rule; else the desk's."""
    batch_size: int = 16
    """Questions side by side, for a local model."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    """How an OpenAI-compatible endpoint (http://…/v1) is asked."""

    def __post_init__(self) -> None:
        require_count(1, batch_size=self.batch_size)


@dataclass(frozen=True)
class ReplyOptions(EndTokenOptions):
    """Prompts that are replied to, and the model that replies."""

    prompts: InputFile | None = None
    """Prompts that get replies; else the support desk's."""
    policy: Path | None = None
    """The causal LM that replies; else RUN/sft."""
    n_prompts: int = 1000
    """Most prompts; 0 for none."""
    max_new_tokens: int = 49
    """Longest reply, in tokens."""
    on_bad_row: OnBadRow = "error"
    """End at a bad row, or leave it out."""

    def __post_init__(self) -> None:
        require_count(0, n_prompts=self.n_prompts)
        require_count(1, max_new_tokens=self.max_new_tokens)


def load_constitution(options: JudgeOptions, **counts: int) -> "Constitution":
    """Reads the constitution; checks the options by whose number its principles are drawn at once."""
    from textrl_env.reward_models.ai_feedback import read_constitution, support_desk_constitution

    path = options.constitution
    constitution = support_desk_constitution() if path is None else read_constitution(path)
    n_principles = len(constitution.principles)
    for name, n in counts.items():
        if not 1 <= n <= n_principles:
            raise InputError(f"{name} must be 1 to {n_principles}, the number of principles, got {n}")
    return constitution


def load_judge(options: JudgeOptions) -> "Judge":
    """Loads the judge; InputError names the option that is wrong, before a model is loaded."""
    from textrl_env.reward_models.ai_feedback.judges import LanguageModelJudge, RuleJudge

    if options.judge == "rules":
        return RuleJudge()
    if _is_endpoint(options):
        return _make_endpoint_judge(options)
    return LanguageModelJudge.from_pretrained(_find_folder(options), batch_size=options.batch_size)


def load_reviser(options: JudgeOptions, max_written_tokens: int) -> "Reviser":
    """Loads the judge as a reviser; a model writes at most `max_written_tokens` tokens, the likeliest ones."""
    require_count(1, max_written_tokens=max_written_tokens)
    from textrl_env.reward_models.ai_feedback.judges import RuleJudge

    if options.judge == "rules":
        return RuleJudge()
    if _is_endpoint(options):
        return _make_endpoint_judge(options).make_reviser(max_written_tokens)
    return _load_local_reviser(_find_folder(options), max_written_tokens, options.batch_size)


def sample_replies(options: ReplyOptions, run_dir: Path, seed: int, *, k: int) -> list[tuple[Prompt, list[str]]]:
    """Returns prompts, with k sampled replies to each."""
    require_seed(seed)
    limit = options.max_new_tokens
    if not options.n_prompts:
        return []
    policy = require_model(options.policy, run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")
    if options.prompts is None:
        dataset = default_data.draw_reply_prompts(options.n_prompts, seed=seed)
    else:
        dataset = PromptDataset.from_file(options.prompts, on_bad_row=options.on_bad_row)
    fitting = encode_fitting_prompts(policy, dataset, max_new_tokens=limit, on_bad_row=options.on_bad_row)
    dataset, tokenizer = fitting.dataset, fitting.tokenizer

    from transformers import AutoModelForCausalLM

    from textrl_env.agents import sample_completions
    from textrl_env.lm import load_model

    prompts = list(dataset.prompts)[: options.n_prompts]
    samples = sample_completions(
        load_model(AutoModelForCausalLM, policy),
        tokenizer,
        prompts,
        n=k,
        seed=seed,
        max_new_tokens=limit,
        eos_token_ids=options.eos_token_ids,
        description="replies",
    )
    return [(prompt, [reply.text for reply in replies]) for prompt, replies in zip(prompts, samples, strict=True)]


def _is_endpoint(options: JudgeOptions) -> bool:
    return options.judge.startswith(("http://", "https://"))


def _make_endpoint_judge(options: JudgeOptions) -> "EndpointJudge":
    from textrl_env.reward_models.ai_feedback.judges import Endpoint, EndpointJudge

    return EndpointJudge(Endpoint(options.judge, options.endpoint))


def _find_folder(options: JudgeOptions) -> Path:
    folder = Path(options.judge)
    # Unlike Path's, this says False of what can be no path at all.
    if not os.path.isfile(folder / "config.json"):
        raise InputError(
            f"judge: expected 'rules', a causal LM's folder (with config.json) or an endpoint's address "
            f"(http://…), got {options.judge!r:.100}"
        )
    return folder


def _load_local_reviser(folder: Path, max_written_tokens: int, batch_size: int) -> "LanguageModelReviser":
    """Loads a local model that writes the likeliest answer."""
    from transformers import AutoModelForCausalLM

    from textrl_env.agents import sample_completions
    from textrl_env.lm import context_length, load_model, load_tokenizer
    from textrl_env.reward_models.ai_feedback.judges import LanguageModelReviser

    model, tokenizer = load_model(AutoModelForCausalLM, folder), load_tokenizer(folder)
    context = context_length(model)

    def sample(prompts: list[Prompt]) -> list[str]:
        longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in prompts)
        if context is not None and longest + max_written_tokens > context:
            raise InputError(
                f"judge: a request of {longest} tokens and max_written_tokens {max_written_tokens} do not fit into the "
                f"{context} tokens of {folder}; take a model with a longer context, or shorter replies"
            )
        replies = sample_completions(
            model, tokenizer, prompts, max_new_tokens=max_written_tokens, temperature=0, description=None
        )
        return [completions[0].text for completions in replies]

    return LanguageModelReviser.from_sampler(sample, tokenizer, folder, batch_size=batch_size)
