"""A healthy case passes every check, and every fault fails its own check and no other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import dropout
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

from textrl_env.checks import Finding
from textrl_env.mdp import TextGenVectorEnv, episodes as mdp_episodes
from textrl_env.mdp.payments import Ledger
from textrl_env.pipeline.doctor import CHECKS, TrainingSetup, examine
from textrl_env.reward_models import RewardModel

Patch = pytest.MonkeyPatch


def failed(case: TrainingSetup) -> dict[str, Finding]:
    return {result.check: result for result in examine(case) if result.outcome == "failed"}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_healthy_case_passes_everything(make_folder: Any, kind: str) -> None:
    results = list(examine(make_folder(kind).case()))
    assert {result.outcome for result in results} == {"passed"}, results


def test_what_is_fine_though_it_looks_odd(folder: Any) -> None:
    """A reward model with a vocabulary of its own, an end token that pads, a reference from a folder, padded rows."""
    for name in ("policy", "reward_model"):
        edit_tokenizer(folder.path / name, pad_token="<eos>")
    other = folder.causal("judge", text="quite other words ", seed=5)
    RewardModel.from_pretrained(other, seed=0).save_pretrained(folder.reward_model)
    folder.options["reference"] = folder.causal("reference")
    results = {result.check: result for result in examine(folder.case())}
    assert {result.outcome for result in results.values()} == {"passed"}, results
    assert "vocabulary of its own, which is fine" in results["same ids for the same text"].message
    assert "which is fine" in results["end and padding tokens"].message


def test_without_a_reward_model_its_checks_are_not_applicable(folder: Any) -> None:
    folder.reward_model = None
    outcomes = {result.check: result.outcome for result in examine(folder.case())}
    assert {name for name, outcome in outcomes.items() if outcome == "not applicable"} == {
        name for name in outcomes if name.startswith("reward model")
    }
    assert "failed" not in outcomes.values()


def test_bfloat16_is_allowed_its_rounding(folder: Any) -> None:
    folder.options["dtype"] = "bfloat16"
    case = folder.case()
    assert not failed(case)
    assert {next(model.parameters()).dtype for model in (case.agent.policy, case.judge.model)} == {torch.bfloat16}


def test_repeated_prompts_are_counted(folder: Any) -> None:
    folder.prompts.write_text("a\nb\na\n")
    told = next(iter(examine(folder.case()))).message
    assert told == f"3 prompts, 1 repeat another, the first: {folder.prompts}:3 that of {folder.prompts}:1"


def edit_tokenizer(path: Any, **changes: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(path)
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(path)


class DropoutAlways(torch.nn.Module):
    """Deaf to eval()."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return dropout(hidden, 0.3, training=True)


def wrap(module: Any, change: Callable[[dict[str, Any], Any], Any]) -> None:
    """Gives a module a forward of `change(its options, its forward)`."""
    forward = module.forward
    module.forward = lambda *args, **options: change(options, lambda: forward(*args, **options))


def ignores_positions(module: Any) -> None:
    wrap(module, lambda options, forward: (options.pop("position_ids", None), forward())[1])


# Faults in files: they change a folder.


def a_row_without_a_prompt(folder: Any) -> None:
    folder.prompts = folder.path / "prompts.jsonl"
    folder.prompts.write_text('{"prompt": "a"}\n{"prompt": "where is it?"}\n{"question": "b"}\n')


def a_row_that_is_too_long(folder: Any) -> None:
    with folder.prompts.open("a") as file:
        file.write("\n" + "z" * 60)


def more_tokens_than_the_model(folder: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder.policy)
    tokenizer.add_tokens([f"<{number}>" for number in range(40)])
    tokenizer.save_pretrained(folder.policy)


def reference_of_fewer_tokens(folder: Any) -> None:
    folder.options["reference"] = folder.causal("reference", rows=265)


def other_tokenizer_of_the_reference(folder: Any) -> None:
    folder.options["reference"] = folder.causal("reference", text="where is my order? please help me ")


def other_end_of_the_reference(folder: Any) -> None:
    folder.options["reference"] = folder.causal("reference")
    edit_tokenizer(folder.options["reference"], eos_token="<pad>")


def no_end_token(folder: Any) -> None:
    edit_tokenizer(folder.policy, eos_token=None)


def nothing_to_pad_with(folder: Any) -> None:
    edit_tokenizer(folder.policy, eos_token=None, pad_token=None)


def nothing_to_pad_the_judged_with(folder: Any) -> None:
    edit_tokenizer(folder.reward_model, eos_token=None, pad_token=None)


def another_end_than_the_model(folder: Any) -> None:
    edit_tokenizer(folder.policy, eos_token="<bos>")


def a_temperature_for_generate(folder: Any) -> None:
    GenerationConfig(do_sample=True, temperature=0.7, eos_token_id=2).save_pretrained(folder.policy)


def a_repetition_penalty(folder: Any) -> None:
    GenerationConfig(repetition_penalty=1.1, eos_token_id=2).save_pretrained(folder.policy)


def a_classifier_of_three(folder: Any) -> None:
    classifier = AutoModelForSequenceClassification.from_pretrained(folder.policy, num_labels=3)
    classifier.save_pretrained(folder.reward_model)


def a_causal_lm_for_a_reward_model(folder: Any) -> None:
    folder.reward_model = folder.policy


def other_weights_of_the_reference(folder: Any) -> None:
    folder.options["reference"] = folder.causal("reference", seed=1)


IN_FILES = [
    ("prompts are readable", a_row_without_a_prompt),
    ("prompts fit the context", a_row_that_is_too_long),
    ("vocabularies fit the models", more_tokens_than_the_model),
    ("vocabularies fit the models", reference_of_fewer_tokens),
    ("same ids for the same text", other_tokenizer_of_the_reference),
    ("same ids for the same text", other_end_of_the_reference),
    ("end and padding tokens", no_end_token),
    ("end and padding tokens", nothing_to_pad_with),
    ("end and padding tokens", nothing_to_pad_the_judged_with),
    ("end and padding tokens", another_end_than_the_model),
    ("generation settings do not warp", a_temperature_for_generate),
    ("generation settings do not warp", a_repetition_penalty),
    ("reward model can be loaded", a_classifier_of_three),
    ("reward model survives the disk", a_causal_lm_for_a_reward_model),
    ("KL is 0 at the start", other_weights_of_the_reference),
]


# Faults of models: they change what a case has loaded.


def judge_with_dropout(case: Any) -> None:
    case.judge.model.transformer.drop = DropoutAlways()


def judge_without_pad_id(case: Any) -> None:
    case.judge.model.config.pad_token_id = None


def judge_with_another_pad_id(case: Any) -> None:
    case.judge.model.config.pad_token_id = 7


def judge_that_sees_the_batch(case: Any) -> None:
    def crowded(options: Any, forward: Any) -> Any:
        output = forward()
        output.logits = output.logits + 0.1 * (len(output.logits) - 1)
        return output

    wrap(case.judge.model, crowded)


def judge_of_nan(case: Any) -> None:
    case.judge.model.score.weight.data[:] = torch.nan


def judge_whose_head_is_not_saved(case: Any) -> None:
    model, save = case.judge.model, case.judge.model.save_pretrained
    model.save_pretrained = lambda path: save(
        path, state_dict={name: value for name, value in model.state_dict().items() if "score" not in name}
    )


def weights_of_nan(case: Any) -> None:
    next(case.agent.policy.parameters()).data[:] = torch.nan


def policy_with_dropout(case: Any) -> None:
    case.agent.policy.transformer.drop = DropoutAlways()


def policy_in_training_mode(case: Any) -> None:
    for module in case.agent.policy.modules():
        module.training = True
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3


def critic_with_dropout(case: Any) -> None:
    case.agent.critic_trunk.drop = DropoutAlways()


def critic_of_nan(case: Any) -> None:
    case.agent.critic_trunk.ln_f.weight.data[:] = torch.nan


def reference_with_dropout(case: Any) -> None:
    case.frozen_reference.model.transformer.drop = DropoutAlways()


def policy_without_position_ids(case: Any) -> None:
    ignores_positions(case.agent.policy)


def policy_without_attention_mask(case: Any) -> None:
    def unmasked(options: Any, forward: Any) -> Any:
        options["attention_mask"] = torch.ones_like(options["attention_mask"])
        return forward()

    wrap(case.agent.policy, unmasked)


def policy_that_sees_the_batch(case: Any) -> None:
    def crowded(options: Any, forward: Any) -> Any:
        output = forward()
        output.logits = output.logits * (1 + 0.05 * (len(options["input_ids"]) - 1))
        return output

    wrap(case.agent.policy, crowded)


def policy_that_sees_padding(case: Any) -> None:
    def shifted(options: Any, forward: Any) -> Any:
        output = forward()
        output.logits = output.logits * (1 + 0.05 * int((options["attention_mask"] == 0).sum()))
        return output

    wrap(case.agent.policy, shifted)


def critic_that_sees_the_batch(case: Any) -> None:
    def crowded(options: Any, forward: Any) -> Any:
        output = forward()
        output.last_hidden_state = output.last_hidden_state + 0.1 * (len(options["input_ids"]) - 1)
        return output

    wrap(case.agent.critic_trunk, crowded)


def cache_at_another_temperature(case: Any) -> None:
    def sharper(options: Any, forward: Any) -> Any:
        output = forward()
        output.logits = output.logits / (0.7 if options["use_cache"] else 1.0)
        return output

    wrap(case.agent.policy, sharper)


def reference_that_moved(case: Any) -> None:
    case.frozen_reference.model.lm_head.weight.data *= 1.05


def sampling(case: Any, warp: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Tokens from warped log-probabilities, reported with those of the policy."""
    agent = case.agent

    def act(observation: Any, *, live: Any, action_masks: Any) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            logits = agent.decoder.next_logits(observation["input_ids"], observation["attention_mask"], live)
            logprobs = agent.distribution(logits, None)
            tokens = torch.multinomial(torch.softmax(warp(logprobs), -1), 1, generator=agent.generator)
            chosen = logprobs.gather(-1, tokens)[:, 0].numpy()
        return np.where(live, tokens[:, 0].numpy(), 0), np.where(live, chosen, 0)

    agent.act = act


def sampling_at_a_low_temperature(case: Any) -> None:
    sampling(case, lambda logprobs: logprobs / 0.7)


def sampling_the_top_ten(case: Any) -> None:
    sampling(case, lambda logprobs: logprobs.masked_fill(logprobs < logprobs.topk(10).values[:, -1:], -torch.inf))


def greedy_sampling(case: Any) -> None:
    sampling(case, lambda logprobs: logprobs * 1e6)


IN_MODELS = [
    ("reward model scores without dropout", judge_with_dropout),
    ("reward model ignores padding and batch", judge_without_pad_id),
    ("reward model ignores padding and batch", judge_with_another_pad_id),
    ("reward model ignores padding and batch", judge_that_sees_the_batch),
    ("reward model survives the disk", judge_whose_head_is_not_saved),
    ("reward model can be loaded", judge_of_nan),
    ("episodes can be sampled", weights_of_nan),
    ("policy scores without dropout", policy_with_dropout),
    ("policy scores without dropout", policy_in_training_mode),
    ("policy scores without dropout", critic_with_dropout),
    ("policy scores without dropout", critic_of_nan),
    ("policy scores without dropout", reference_with_dropout),
    ("policy ignores padding and batch", policy_that_sees_the_batch),
    ("policy ignores padding and batch", policy_that_sees_padding),
    ("critic ignores padding and batch", critic_that_sees_the_batch),
    ("ratio is 1 at the start", policy_without_position_ids),
    ("ratio is 1 at the start", policy_without_attention_mask),
    ("ratio is 1 at the start", cache_at_another_temperature),
    ("KL is 0 at the start", reference_that_moved),
    ("sampled from what is scored", sampling_at_a_low_temperature),
    ("sampled from what is scored", sampling_the_top_ten),
    ("sampled from what is scored", greedy_sampling),
]


# Faults of the environment: they change its classes.


def a_bonus_outside_the_ledger(patch: Patch) -> None:
    patch.setattr(Ledger, "rewards", property(lambda self: np.sum(list(self.terms.values()), axis=0) + 0.5))


def a_score_that_is_lost(patch: Patch) -> None:
    pay_scores = mdp_episodes.pay_scores
    patch.setattr(
        mdp_episodes, "pay_scores", lambda ledger, state, slots: pay_scores(ledger, state, slots[: len(slots) // 2])
    )


def masks_that_forbid_everything(patch: Patch) -> None:
    masks = TextGenVectorEnv.action_masks
    patch.setattr(
        TextGenVectorEnv, "action_masks", lambda self: masks(self) & (self._episodes.state.n_tokens < 3)[:, None]
    )


IN_ENVIRONMENT = [
    ("rewards add up", a_bonus_outside_the_ledger),
    ("rewards add up", a_score_that_is_lost),
    ("some token may always be chosen", masks_that_forbid_everything),
]


def named(faults: Any) -> list[Any]:
    return [pytest.param(*fault, id=fault[1].__name__) for fault in faults]


def assert_only(name: str, case: TrainingSetup) -> None:
    found = failed(case)
    assert set(found) == {name}, {other: result.message for other, result in found.items()}
    assert all((found[name].message, found[name].consequence, found[name].remedy))


@pytest.mark.parametrize(("name", "fault"), named(IN_FILES))
def test_a_fault_in_files_fails_its_check_only(folder: Any, name: str, fault: Callable[[Any], None]) -> None:
    fault(folder)
    assert_only(name, folder.case())


@pytest.mark.parametrize(("name", "fault"), named(IN_MODELS))
def test_a_fault_of_a_model_fails_its_check_only(folder: Any, name: str, fault: Callable[[Any], None]) -> None:
    case = folder.case()
    # The reference is a copy of the policy: it is made before the policy gets its fault.
    assert case.frozen_reference is not None and case.judge is not None
    fault(case)
    assert_only(name, case)


@pytest.mark.parametrize(("name", "fault"), named(IN_ENVIRONMENT))
def test_a_fault_of_the_environment_fails_its_check_only(
    folder: Any, monkeypatch: Patch, name: str, fault: Callable[[Patch], None]
) -> None:
    fault(monkeypatch)
    assert_only(name, folder.case())


def test_every_check_has_a_fault() -> None:
    assert {name for name, _ in IN_FILES + IN_MODELS + IN_ENVIRONMENT} == {check.name for check in CHECKS}


def test_what_a_failure_makes_meaningless_is_not_looked_at(folder: Any) -> None:
    more_tokens_than_the_model(folder)
    results = {result.check: result for result in examine(folder.case())}
    ratio = results["ratio is 1 at the start"]
    assert ratio.outcome == "not applicable" and "policy ignores padding and batch" in ratio.message
