"""PPO of a 0.5B Llama on a CUDA GPU: how near the rollout comes to the memory's bandwidth, and the update to the FLOPs.

The networks (policy, critic, reference, reward model) have random weights in bfloat16; 256 completions of 256 tokens.

- Rollout, in tokens/s, beside transformers' `generate` and beside a bound: a decoding step reads the weights and the
  cached keys and values at least once, at the bandwidth that copying a large tensor reaches on this GPU.
- Update, as model FLOPs utilisation: 6 FLOPs per weight and token of policy and critic (attention's own products are
  left out), divided by the time and by what a large bfloat16 matrix product reaches on this GPU.

Prints a table and writes JSON. Without a GPU it says so and ends.

    python benchmarks/gpu_ppo.py
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from iteration.job import random_prompts, word_tokenizer
from iteration.ours import PhasedPPO, Phases, TimedReference
from iteration.turns import Stopwatch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from textrl_env import KLShaping, TextGenVectorEnv
from textrl_env.agents import ActorCriticLM, collect
from textrl_env.reward_models import ModelReward, RewardModel


@dataclass(frozen=True)
class Args:
    """Options of the benchmark."""

    batch: int = 256
    """Completions of an iteration."""
    tokens: int = 256
    """Of each completion."""
    microbatch_size: int = 16
    """Completions per forward and backward pass of the update."""
    rounds: int = 3
    """How often each part is measured, after once to warm up; the median is reported."""
    layers: int = 24
    """Of the model; the other sizes follow the 0.5B shape (4 layers make 0.2B, most of it the vocabulary)."""
    width: int = 896
    """Of the model, a multiple of 64."""
    vocabulary: int = 151_936
    """Tokens the model knows."""
    out: Path = Path(__file__).parent / "results" / "gpu_ppo.json"
    """The measurements."""


def configuration(args: Args) -> LlamaConfig:
    heads = args.width // 64
    return LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.width,
        intermediate_size=args.width * 38 // 7,
        num_hidden_layers=args.layers,
        num_attention_heads=heads,
        num_key_value_heads=2 if heads % 2 == 0 else 1,
        max_position_embeddings=args.tokens + 32,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        num_labels=1,
    )


class Timer:
    """Wall seconds of GPU work: waits for it at both ends."""

    def __init__(self, device: torch.device, rounds: int) -> None:
        self._device, self._rounds = device, rounds

    def median(self, work: Callable[[], Any]) -> float:
        """Of some rounds, after one that is not counted."""
        seconds = []
        for _ in range(self._rounds + 1):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            seconds.append(time.perf_counter() - start)
        return median(seconds[1:])

    def wait(self) -> None:
        """Until the GPU has done what was asked of it."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def bandwidth(device: torch.device, timer: Timer, *, elements: int = 2**30) -> float:
    """Bytes per second of a copy: what is read plus what is written."""
    source = torch.ones(elements, dtype=torch.bfloat16, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / timer.median(lambda: target.copy_(source))


def arithmetic(device: torch.device, timer: Timer, *, width: int = 8192) -> float:
    """FLOPs per second of a bfloat16 matrix product."""
    matrix = torch.randn(width, width, dtype=torch.bfloat16, device=device)
    return float(2 * width**3 / timer.median(lambda: matrix @ matrix))


def decoding_bound(policy: Any, args: Args, prompt: float, bytes_per_second: float) -> float:
    """Tokens per second of decoding, were it nothing but reading the weights and the cache once a step."""
    config = policy.config
    weights = sum(parameter.nbytes for parameter in policy.parameters())
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * policy.dtype.itemsize
    cache_bytes = args.batch * (prompt + args.tokens / 2) * per_token
    return args.batch * bytes_per_second / (weights + cache_bytes)


def algorithm(args: Args, device: torch.device, stopwatch: Stopwatch) -> PhasedPPO:
    """PPO with the four networks."""
    config, tokenizer = configuration(args), word_tokenizer(args.vocabulary)
    with torch.device(device):
        policy = LlamaForCausalLM(config).to(torch.bfloat16)
        reward_model = LlamaForSequenceClassification(config).to(torch.bfloat16)
    env = TextGenVectorEnv(
        random_prompts(args.vocabulary),
        ModelReward(RewardModel(reward_model, tokenizer)),
        tokenizer,
        num_envs=args.batch,
        max_new_tokens=args.tokens,
        eos_token_ids=[],
        autoreset_mode="Disabled",
        kl=KLShaping(0.05, "sampled", pay="episode"),
        reference=TimedReference(policy, vocab_size=args.vocabulary, precision="float32", stopwatch=stopwatch),
    )
    ppo = PhasedPPO(
        ActorCriticLM(policy, vocab_size=args.vocabulary),
        env,
        n_episodes=args.batch,
        microbatch_size=args.microbatch_size,
        learning_rate=1e-6,
    )
    ppo.stopwatch = stopwatch
    return ppo


def measure(args: Args, device: torch.device) -> dict[str, float]:
    """All figures, on a device."""
    timer, stopwatch = Timer(device, args.rounds), Stopwatch()
    ppo = algorithm(args, device, stopwatch)
    policy, env = ppo.policy.policy, ppo.env
    # The rollout alone: nothing is scored and no reference consulted.
    bare = TextGenVectorEnv(
        env.task.prompts,
        lambda prompts, completions: [0.0] * len(prompts),
        env.task.tokenizer,
        num_envs=args.batch,
        max_new_tokens=args.tokens,
        eos_token_ids=[],
        autoreset_mode="Disabled",
    )
    bare.reset(seed=0)
    tokens = args.batch * args.tokens
    texts = (random_prompts(args.vocabulary) * args.batch)[: args.batch]
    prompts = env.task.tokenizer(texts, padding=True, return_tensors="pt").to(device)
    policy.generation_config.eos_token_id = None
    rollout_rate = tokens / timer.median(lambda: collect(bare, ppo.policy, args.batch))
    generate = tokens / timer.median(
        lambda: policy.generate(
            input_ids=prompts.input_ids,
            attention_mask=prompts.attention_mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=args.tokens,
        )
    )
    updates = []
    for _ in range(args.rounds + 1):
        ppo.learn(total_updates=1, callback=Phases(stopwatch))
        timer.wait()
        updates.append(stopwatch.read()["update"]["wall"])
    update = median(updates[1:])
    positions = int(ppo.rollout.prompt_mask.sum() + ppo.rollout.completion_mask.sum())
    trunk = sum(parameter.numel() for parameter in policy.model.layers.parameters())
    # Policy and critic share a shape; only the policy multiplies by the vocabulary, and only at completions.
    per_epoch = 6 * (2 * trunk * positions + args.vocabulary * args.width * tokens)
    full, read = arithmetic(device, timer), bandwidth(device, timer)
    bound = decoding_bound(policy, args, float(prompts.attention_mask.sum()) / args.batch, read)
    return {
        "rollout, tokens/s": rollout_rate,
        "generate, tokens/s": generate,
        "bandwidth bound, tokens/s": bound,
        "rollout / generate": rollout_rate / generate,
        "rollout / bound": rollout_rate / bound,
        "update, s": update,
        "update, MFU": ppo.n_epochs * per_epoch / update / full,
        "bandwidth, GB/s": read / 1e9,
        "matrix product, TFLOP/s": full / 1e12,
        "policy, M parameters": policy.num_parameters() / 1e6,
    }


def main(args: Args) -> dict[str, float]:
    """Measures on the first GPU, prints, writes; returns the figures."""
    if not torch.cuda.is_available():
        sys.exit(
            "benchmarks/gpu_ppo.py needs a CUDA GPU, and torch sees none here; run it where there is one, with a torch "
            "built for CUDA. benchmarks/ppo_iteration.py measures the processor."
        )
    result = measure(args, torch.device("cuda"))
    table = Table(torch.cuda.get_device_name(), "")
    for name, value in result.items():
        table.add_row(name, f"{value:.3g}" if value < 1000 else f"{value:.0f}")
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"gpu": torch.cuda.get_device_name(), **result}, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
