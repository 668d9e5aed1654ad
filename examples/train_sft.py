"""Supervised fine-tuning of a small model from scratch, on the built-in support desk or on a file of yours.

You will see the loss fall and three completions of held-out prompts. Takes about 45 seconds on one CPU core.

Your own file has the columns `prompt` and `completion`:  python examples/train_sft.py --demonstrations mine.jsonl
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from transformers import AutoModelForCausalLM

from textrl_env.agents import SFTConfig, sample_completions
from textrl_env.lm import load_model, load_tokenizer
from textrl_env.pipeline import SFTOptions, run_sft
from textrl_env.worlds import support_desk


@dataclass(frozen=True)
class Args:
    """Options of the example."""

    run_dir: Path = Path("runs/examples")
    """Where the model goes: RUN/sft."""
    demonstrations: Path | None = None
    """JSONL or CSV with columns prompt and completion; by default the support desk's."""
    training: SFTConfig = field(default_factory=SFTConfig)
    """How to train."""
    prompts: tuple[str, ...] = ()
    """Prompts to complete at the end; by default three of the support desk."""


def main(args: Args) -> dict[str, float]:
    """Trains, shows completions and returns the held-out loss in nats per token."""
    options = SFTOptions(demonstrations=args.demonstrations, training=args.training)
    result = run_sft(options, args.run_dir, seed=0)
    model = load_model(AutoModelForCausalLM, args.run_dir / "sft")
    tokenizer = load_tokenizer(args.run_dir / "sft")
    prompts = list(args.prompts) or [row["prompt"] for row in support_desk.prompts(3, seed=1, split="heldout")]
    for prompt, completions in zip(
        prompts, sample_completions(model, tokenizer, prompts, max_new_tokens=49), strict=True
    ):
        print(f"\n{prompt}{completions[0].text}")
    print(f"\nheld-out loss {result['heldout_loss']:.3f} nats per token; the model is in {args.run_dir / 'sft'}")
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
