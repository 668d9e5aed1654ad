"""`textrl report rm`: judges a reward model and writes its report card beside it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from textrl_env.errors import require_at_least
from textrl_env.pipeline.report_card import CARD
from textrl_env.pipeline.runs import command_line, find_policy, write_json
from textrl_env.reward_models.report_card import CardLimits

if TYPE_CHECKING:
    from textrl_env.reward_models.report_card import Gold, Probe, ReportCard, Samples, Scorer


@dataclass(frozen=True)
class RewardModelReport:
    """Judges a reward model; writes its report_card.html and .json beside it; exit code 1 if a check fails."""

    of: tyro.conf.Positional[Path]
    """A run's folder, or a reward model's."""
    preferences: Path | None = None
    """Held-out preferences; else those of its training."""
    policy: Path | None = None
    """Causal LM that training starts from; else its sft."""
    policies: tuple[Path, ...] = ()
    """Policies to probe with; else checkpoints."""
    slice_by: tuple[str, ...] = ()
    """Columns whose values are judged one by one."""
    n_prompts: int = 64
    """Prompts to sample on; 0: none."""
    n: int = 64
    """Samples of each; best-of-n up to a quarter."""
    max_new_tokens: int = 49
    """Longest sample, in tokens."""
    seed: int = 0
    """Of samples and intervals."""
    limit: Annotated[CardLimits, tyro.conf.arg(help_behavior_hint="")] = field(default_factory=CardLimits)
    """What must be reached to pass."""

    def run(self) -> None:
        """Prints the verdicts and where the files are; SystemExit(1) if a check failed."""
        require_at_least(0, n_prompts=self.n_prompts)
        require_at_least(4, n=self.n)
        require_at_least(1, max_new_tokens=self.max_new_tokens)

        from textrl_env.cli.report_card.gathering import reward_model_folder

        folder = reward_model_folder(self.of)
        card, data = self._judge(folder)

        from textrl_env.cli.report_card.terminal import shown
        from textrl_env.reward_models.report_card import weights_digest

        about = {
            "weights": weights_digest(folder), "reward_model": str(folder), "data": data, "limits": asdict(self.limit),
            "command": command_line(), "seed": self.seed,
        }  # fmt: skip
        path = write_json(folder / CARD, about | card.as_dict())

        from textrl_env.report import write_card

        page = write_card(path)
        console = Console()
        for line in shown(card, folder):
            console.print(line, soft_wrap=isinstance(line, str), highlight=False)
        console.print(f"the report card is {page}, its figures are in {path}", soft_wrap=True, highlight=False)
        if card.failed:
            raise SystemExit(1)

    def _judge(self, folder: Path) -> "tuple[ReportCard, dict[str, Any]]":
        """The card, and what it was made from."""
        from textrl_env.cli.report_card.gathering import gold_of, heldout_preferences, simulated_ceiling, slices_of

        source, preferences = heldout_preferences(folder, self.preferences)
        slices = slices_of(source, preferences, self.slice_by)
        prompts = [text for text in dict.fromkeys(row.prompt for row in preferences) if text.strip()]
        prompts = prompts[: self.n_prompts]
        start = find_policy(self.policy) if self.policy else folder.parent / "sft"
        sampled = bool(prompts) and (start / "config.json").is_file()
        gold = gold_of(prompts) if sampled else None

        import numpy as np

        from textrl_env.reward_models import load_reward_model
        from textrl_env.reward_models.report_card import report_card

        reward_model = load_reward_model(folder)
        pool, probes = self._samples(reward_model, folder.parent, start, prompts, gold) if sampled else (None, [])
        card = report_card(
            reward_model, preferences, rng=np.random.default_rng(self.seed), limits=self.limit,
            ceiling=simulated_ceiling(source, preferences), slices=slices, pool=pool, probes=probes,
        )  # fmt: skip
        data: dict[str, Any] = {"preferences": str(source), "n_preferences": len(preferences)}
        if sampled:
            data |= {"policy": str(start), "n_prompts": len(prompts), "n_samples": self.n, "gold": gold is not None}
        return card, data

    def _samples(
        self, reward_model: "Scorer", run_dir: Path, start: Path, prompts: list[str], gold: "Gold | None"
    ) -> "tuple[Samples, list[Probe]]":
        """Of the policy that training starts from, and of trained ones."""
        from transformers import AutoModelForCausalLM

        from textrl_env.agents import sample_completions
        from textrl_env.cli.report_card.gathering import mean_kl, policies_of
        from textrl_env.data import PromptDataset
        from textrl_env.lm import load_model
        from textrl_env.pipeline.runs import encode_fitting_prompts
        from textrl_env.reward_models.report_card import Probe, score_samples

        policies = list(policies_of(run_dir, self.policies, start=start))
        tokenizer = encode_fitting_prompts(
            start, PromptDataset.of(prompts), max_new_tokens=self.max_new_tokens
        ).tokenizer
        reference = load_model(AutoModelForCausalLM, start)

        def sampled(model: Any, n: int, what: str) -> Any:
            return sample_completions(
                model, tokenizer, prompts, max_new_tokens=self.max_new_tokens, n=n, seed=self.seed, description=what
            )

        def scored(groups: Any) -> "Samples":
            texts = [[completion.text for completion in group] for group in groups]
            return score_samples(reward_model, prompts, texts, gold=gold)

        pool = scored(sampled(reference, self.n, "samples of the policy"))
        probes = []
        for name, folder in policies:
            policy = load_model(AutoModelForCausalLM, folder)
            groups = sampled(policy, 8, f"samples of {name}")
            flat = [completion for group in groups for completion in group]
            kl = mean_kl(policy, reference, flat, vocab_size=len(tokenizer))
            probes.append(Probe(name, "policy", kl, scored(groups)))
        return pool, probes
