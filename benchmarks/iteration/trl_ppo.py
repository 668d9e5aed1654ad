"""TRL's PPOTrainer on the job, in the environment that holds the last release with it.

python -m iteration.trl_ppo FOLDER --fused-activation --no-collect
"""

import argparse
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trl.experimental.ppo.ppo_trainer
from datasets import Dataset
from iteration.job import DTYPES, Job
from iteration.trl_turns import ByTurns, ForwardCount
from iteration.turns import Turns
from trl.experimental.ppo import PPOConfig, PPOTrainer

ITERATIONS = 10_000
"""More than anybody asks for: the process ends with its input."""


def ppo_trainer(job: Job, turns: Turns, folder: str, *, weights: str, fused_activation: bool) -> PPOTrainer:
    """Four networks of the job; nothing saved, nothing sampled for show, no gradient checkpointing."""
    size, tokenizer = job.size, job.tokenizer()
    # "gelu_new" is the same function, in many operations instead of one.
    config: dict[str, Any] = {"activation_function": "gelu_pytorch_tanh"} if fused_activation else {}
    policy, reference = job.policy(weights, **config), job.policy(weights, **config)
    reward_model = job.classifier("reward_model", weights, **config)
    critic = job.classifier("critic", weights, **config)
    prompts = Dataset.from_dict({"input_ids": tokenizer(job.prompts)["input_ids"]})
    arguments = PPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        num_sample_generations=0,
        learning_rate=size.learning_rate,
        total_episodes=ITERATIONS * size.completions,
        per_device_train_batch_size=size.completions,
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        num_ppo_epochs=size.epochs,
        local_rollout_forward_batch_size=size.completions,
        response_length=size.tokens,
        stop_token=None,
        missing_eos_penalty=None,
        temperature=1.0,
        kl_coef=size.kl_coef,
    )
    trainer = PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward_model,
        value_model=critic,
        train_dataset=prompts,
        eval_dataset=prompts.select(range(size.completions)),
    )
    count = ForwardCount(policy=policy, reference=reference, reward_model=reward_model, critic=critic)
    trainer.add_callback(ByTurns(turns, count))
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fused-activation", action="store_true")
    parser.add_argument("--no-collect", action="store_true", help="without the trainer's calls of gc.collect")
    parser.add_argument("--weights", default="float32", choices=tuple(DTYPES))
    args = parser.parse_args()
    turns = Turns()
    if args.no_collect:
        trl.experimental.ppo.ppo_trainer.gc = SimpleNamespace(collect=lambda: 0)
    with tempfile.TemporaryDirectory() as folder:
        ppo_trainer(
            Job(args.folder), turns, folder, weights=args.weights, fused_activation=args.fused_activation
        ).train()


if __name__ == "__main__":
    main()
