"""Memory of one PPO update of a language model, by what is trained and what is kept for the backward pass.

Each variant runs in a process of its own and reports how far its memory rose from the bare model to the peak of two
updates. Takes about two minutes on a CPU core.
"""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import torch
import tyro
from transformers import LlamaConfig, LlamaForCausalLM

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM
from textrl_env.lm.adapters import with_lora
from textrl_env.reference import AdapterOffReference, FrozenReference
from textrl_env.training import seeded
from textrl_env.worlds import LetterTokenizer

VARIANTS = ["full", "full, checkpointing", "full, microbatches of 2", "lora", "lora, checkpointing"]


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    hidden_size: int = 384
    """Width of the Llama; its parameters grow with the square."""
    layers: int = 8
    """Of the Llama."""
    n_episodes: int = 16
    """Completions in the update's one minibatch."""
    max_new_tokens: int = 64
    """Length of every completion."""
    variant: str = ""
    """One of them only, in this process."""


def peak() -> float:
    """Most memory this process ever had, in MB (Linux counts it in kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(args: Args) -> None:
    """Runs a variant and prints its line."""
    tokenizer = LetterTokenizer(27)
    with seeded(0):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=27,
                hidden_size=args.hidden_size,
                intermediate_size=4 * args.hidden_size,
                num_hidden_layers=args.layers,
                num_attention_heads=8,
                num_key_value_heads=8,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
            )
        ).eval()
    start, weights = peak(), sum(value.numel() for value in model.parameters()) * 4 / 1e6
    lora = args.variant.startswith("lora")
    agent = ActorCriticLM(
        with_lora(model) if lora else model, vocab_size=27, gradient_checkpointing="checkpointing" in args.variant
    )
    kind = AdapterOffReference if lora else FrozenReference
    env = TextGenVectorEnv(
        ["abcdefgh"],
        lambda prompts, completions, **columns: [float(text.count("a")) for text in completions],
        tokenizer,
        num_envs=args.n_episodes,
        autoreset_mode="Disabled",
        max_new_tokens=args.max_new_tokens,
        min_new_tokens=args.max_new_tokens,
        kl=KLShaping(0.05, "sampled", pay="episode"),
        reference=kind(agent.policy, vocab_size=27),
    )
    ppo = PPO(
        agent,
        env,
        n_episodes=args.n_episodes,
        n_epochs=1,
        microbatch_size=2 if "microbatches" in args.variant else None,
    )
    start_time = time.process_time()
    ppo.learn(total_updates=2)
    seconds = time.process_time() - start_time
    n_trained = sum(value.numel() for value in agent.parameters() if value.requires_grad) / 1e6
    print(f"{args.variant:<24} {weights:8.0f} {n_trained:10.2f} {peak() - start:10.0f} {seconds:9.1f}", flush=True)


def main(args: Args) -> None:
    """Every variant, each in a new process."""
    torch.set_num_threads(1)
    if args.variant:
        measure(args)
        return
    print(f"{'':<24} {'model MB':>8} {'trained M':>10} {'more MB':>10} {'CPU s':>9}", flush=True)
    for variant in VARIANTS:
        # Large blocks from the system, so that what is freed leaves the process and its peak is what was in use.
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--variant", variant], check=True, env=environment)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
