"""TRL's PPOTrainer on the small world; run in the environment that holds the last release with it.

Writes the policy at each mark to OUT/MARK/ and the processor seconds of training until then to OUT/seconds.json.

    python -m small_world.trl_ppo FOLDER OUT --seed 100
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import transformers
from datasets import Dataset
from small_world.files import END, ScoreTable, Setting, letter_tokenizer, read_setting
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer


class SaveAtMarks(TrainerCallback):
    """Keeps the policy after so many completions, and the processor time that training took until then."""

    def __init__(self, policy: Any, setting: Setting, out: Path) -> None:
        self._policy, self._setting, self._out = policy, setting, out
        self._seconds: list[float] = []
        self._saving = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.episode in self._setting.marks:
            now = time.process_time()
            self._seconds.append(now - self._started - self._saving)
            self._policy.save_pretrained(self._out / str(state.episode))
            (self._out / "seconds.json").write_text(json.dumps(self._seconds))
            self._saving += time.process_time() - now


def language_model(folder: Path, setting: Setting) -> Any:
    """The reference with room for the padding id, which is never chosen."""
    model = AutoModelForCausalLM.from_pretrained(folder / "reference")
    model.resize_token_embeddings(setting.pad + 1)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = setting.pad, END

    def forbid(module: Any, inputs: Any, logits: Any) -> Any:
        return logits.index_fill(-1, logits.new_tensor([setting.pad]).long(), -1e9)

    model.lm_head.register_forward_hook(forbid)
    return model


def trainer(folder: Path, out: Path, *, seed: int) -> PPOTrainer:
    """The job of `setting.json`; what it does not name is as TRL has it."""
    setting = read_setting(folder)
    tokenizer, policy = letter_tokenizer(setting), language_model(folder, setting)
    score = ScoreTable(folder, setting)
    prompts = list(score.prompts) * (setting.n_episodes // len(score.prompts))
    data = Dataset.from_dict({"input_ids": tokenizer(prompts)["input_ids"]})
    arguments = PPOConfig(
        output_dir=str(out),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        seed=seed,
        disable_tqdm=True,
        save_strategy="no",
        num_sample_generations=0,
        lr_scheduler_type="linear",
        learning_rate=setting.learning_rate,
        total_episodes=setting.marks[-1],
        per_device_train_batch_size=setting.n_episodes,
        gradient_accumulation_steps=1,
        num_mini_batches=setting.n_episodes // setting.batch_size,
        num_ppo_epochs=setting.n_epochs,
        local_rollout_forward_batch_size=setting.n_episodes,
        response_length=setting.horizon,
        stop_token="eos",
        temperature=1.0,
        kl_coef=setting.coef,
        lam=setting.gae_lambda,
    )
    return PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=language_model(folder, setting),
        reward_model=score,
        value_model=AutoModelForSequenceClassification.from_pretrained(folder / "critic"),
        train_dataset=data,
        eval_dataset=data,
        callbacks=[SaveAtMarks(policy, setting, out)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    transformers.set_seed(args.seed)
    trainer(args.folder, args.out, seed=args.seed).train()


if __name__ == "__main__":
    main()
