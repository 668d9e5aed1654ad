"""Options that `textrl ai-feedback` and `textrl revise` share: who judges by which constitution, and which replies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textrl_env.cli.fitting import fitting_tokenizer
from textrl_env.cli.optional import OptionalPath
from textrl_env.cli.run_folder import existing_model
from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.data.text import encode_prompt
from textrl_env.errors import InputError, require_at_least
from textrl_env.lm import load_config, load_model, load_tokenizer
from textrl_env.reward_models.ai_feedback import Endpoint, EndpointConfig
from textrl_env.worlds import support_desk

if TYPE_CHECKING:
    from textrl_env.reward_models.ai_feedback import Constitution, Judge, Request, Reviser


@dataclass(frozen=True)
class JudgeOptions:
    """Who judges, and by what."""

    judge: str = "rules"
    """`rules`, a causal LM's folder, or an endpoint's address (OpenAI-compatible, http://…/v1)."""
    constitution: OptionalPath = None
    """JSONL with principle, id, weight, rule; else the desk's."""
    batch_size: int = 16
    """Questions side by side, for a local model."""
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    """How an endpoint is asked."""

    def principles(self, **each: int) -> "Constitution":
        """The constitution, checked; `each` is how many of its principles an option of that name draws at once."""
        from textrl_env.reward_models.ai_feedback import read_constitution, support_desk_constitution

        found = support_desk_constitution() if self.constitution is None else read_constitution(self.constitution)
        for name, n in each.items():
            if not 1 <= n <= len(found.principles):
                raise InputError(f"{name} must be 1 to {len(found.principles)}, the number of principles, got {n}")
        return found

    def make_judge(self) -> "Judge":
        """InputError names the option that is wrong, before a model is loaded."""
        require_at_least(1, batch_size=self.batch_size)
        if self.judge == "rules":
            from textrl_env.reward_models.ai_feedback import RuleJudge

            return RuleJudge()
        if self._is_endpoint:
            from textrl_env.reward_models.ai_feedback import EndpointJudge

            return EndpointJudge(Endpoint(self.judge, self.endpoint))
        folder = self._folder()

        from textrl_env.reward_models.ai_feedback import LanguageModelJudge

        return LanguageModelJudge.from_pretrained(folder, batch_size=self.batch_size)

    def make_reviser(self, max_written_tokens: int) -> "Reviser":
        """As `make_judge`; a model writes at most `max_written_tokens` tokens, the likeliest ones."""
        require_at_least(1, batch_size=self.batch_size, max_written_tokens=max_written_tokens)
        from textrl_env.reward_models.ai_feedback import LanguageModelReviser

        if self.judge == "rules":
            from textrl_env.reward_models.ai_feedback import RuleJudge

            return RuleJudge()
        if self._is_endpoint:
            from textrl_env.reward_models.ai_feedback import EndpointJudge

            endpoint = Endpoint(self.judge, self.endpoint)
            known = EndpointJudge(endpoint)

            def ask(requests: "Sequence[Request]") -> list[str]:
                return [endpoint.chat(each.messages, max_tokens=max_written_tokens).text for each in requests]

            return LanguageModelReviser(ask, known.name, known.identity, batch_size=1, workers=known.workers)
        folder = self._folder()

        from textrl_env.reward_models.ai_feedback import identity_of

        name, identity = identity_of(folder)
        return LanguageModelReviser(_local_writer(folder, max_written_tokens), name, identity, self.batch_size)

    @property
    def _is_endpoint(self) -> bool:
        return self.judge.startswith(("http://", "https://"))

    def _folder(self) -> Path:
        folder = Path(self.judge)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"judge: expected 'rules', a causal LM's folder (with config.json) or an endpoint's address "
                f"(http://…), got {self.judge!r:.100}"
            )
        return folder


@dataclass(frozen=True)
class ReplyOptions:
    """Which prompts are replied to, and by which model."""

    prompts: OptionalPath = None
    """Prompts that get replies; else the support desk's."""
    policy: OptionalPath = None
    """The causal LM that replies; else RUN/sft."""
    n_prompts: int = 1000
    """Most prompts; 0 for none."""
    max_new_tokens: int = 49
    """Longest reply, in tokens."""
    on_bad_row: OnBadRow = "error"
    """End at a bad row, or leave it out."""

    def sampled(self, run_dir: Path, seed: int, *, k: int) -> list[tuple[Any, list[str]]]:
        """Prompts, with k sampled replies to each."""
        require_at_least(0, n_prompts=self.n_prompts)
        require_at_least(1, max_new_tokens=self.max_new_tokens)
        if not self.n_prompts:
            return []
        policy = existing_model(self.policy or run_dir / "sft", made_by=f"textrl sft --run-dir {run_dir}")
        if self.prompts is None:
            rows = support_desk.prompts(self.n_prompts, seed=seed + 4000)
            dataset = PromptDataset.of([row["prompt"] for row in rows])
        else:
            dataset = PromptDataset.from_file(self.prompts, on_bad_row=self.on_bad_row)
        tokenizer = fitting_tokenizer(policy, dataset, max_new_tokens=self.max_new_tokens)

        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions

        prompts = list(dataset.prompts)[: self.n_prompts]
        samples = sample_completions(
            load_model(AutoModelForCausalLM, policy), tokenizer, prompts, n=k, seed=seed,
            max_new_tokens=self.max_new_tokens, description="replies",
        )  # fmt: skip
        return [(prompt, [reply.text for reply in replies]) for prompt, replies in zip(prompts, samples, strict=True)]


def _local_writer(folder: Path, max_written_tokens: int) -> "Callable[[Sequence[Request]], list[str]]":
    """A local model writes the likeliest answer; without a chat template its first paragraph."""
    from transformers import AutoModelForCausalLM

    from textrl_env.agents import sample_completions
    from textrl_env.reward_models.ai_feedback import without_control_tokens

    model, tokenizer = load_model(AutoModelForCausalLM, folder), load_tokenizer(folder)
    context = load_config(folder).get_text_config().max_position_embeddings
    chat = bool(tokenizer.chat_template)

    def write(requests: "Sequence[Request]") -> list[str]:
        safe = [without_control_tokens(each, tokenizer) for each in requests]
        prompts = [each.messages if chat else each.plain for each in safe]
        longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in prompts)
        if longest + max_written_tokens > context:
            raise InputError(
                f"judge: a request of {longest} tokens and max_written_tokens {max_written_tokens} do not fit into the "
                f"{context} tokens of {folder}; take a model with a longer context, or shorter replies"
            )
        sampled = sample_completions(
            model, tokenizer, prompts, max_new_tokens=max_written_tokens, temperature=0, description=None
        )
        texts = [each[0].text for each in sampled]
        return texts if chat else [text.strip().partition("\n\n")[0] for text in texts]

    return write
