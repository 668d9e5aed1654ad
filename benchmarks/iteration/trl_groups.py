"""TRL's GRPOTrainer and RLOOTrainer on the job, without a critic and with groups of completions per prompt.

python -m iteration.trl_groups FOLDER grpo
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from datasets import Dataset
from iteration.job import Job
from iteration.trl_turns import ByTurns, ForwardCount
from iteration.turns import Turns
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

KINDS: dict[str, Any] = {"grpo": (GRPOConfig, GRPOTrainer), "rloo": (RLOOConfig, RLOOTrainer)}


def group_trainer(kind: str, job: Job, turns: Turns, folder: str, *, fused_activation: bool) -> Any:
    """Policy, reference and reward model of the job; nothing saved or logged, no gradient checkpointing."""
    size, tokenizer = job.size, job.tokenizer()
    config: dict[str, Any] = {"activation_function": "gelu_pytorch_tanh"} if fused_activation else {}
    policy, reward_model = job.policy(**config), job.classifier("reward_model", **config)
    config_class, trainer_class = KINDS[kind]
    arguments = config_class(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        learning_rate=size.learning_rate,
        num_train_epochs=100_000,
        per_device_train_batch_size=size.completions,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_iterations=size.epochs,
        num_generations=size.group,
        max_completion_length=size.tokens,
        temperature=1.0,
        beta=size.kl_coef,
    )
    trainer = trainer_class(
        model=policy,
        reward_funcs=reward_model,
        reward_processing_classes=tokenizer,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": job.prompts}),
    )
    if fused_activation:
        _fuse_activation(trainer.ref_model, policy)
    count = ForwardCount(policy=policy, reference=trainer.ref_model, reward_model=reward_model)
    trainer.add_callback(ByTurns(turns, count, steps=size.epochs))
    return trainer


def _fuse_activation(reference: Any, policy: Any) -> None:
    """The trainer loads the reference itself, with the activation of the file."""
    for reference_block, policy_block in zip(reference.transformer.h, policy.transformer.h, strict=True):
        reference_block.mlp.act = policy_block.mlp.act


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--fused-activation", action="store_true")
    args = parser.parse_args()
    turns = Turns()
    with tempfile.TemporaryDirectory() as folder:
        group_trainer(args.kind, Job(args.folder), turns, folder, fused_activation=args.fused_activation).train()


if __name__ == "__main__":
    main()
