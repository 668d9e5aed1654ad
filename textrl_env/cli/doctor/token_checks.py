"""Do the models and their tokenizers speak of the same tokens? Asked of the files alone."""

from textrl_env.cli.doctor.case import GENERATION_FILE, Case
from textrl_env.cli.doctor.check import Finding, check
from textrl_env.data.text import encode_prompt

# Settings with which `generate` changes the model's distribution, and the values at which they do not.
WARPERS = {
    "temperature": (None, 1.0), "top_k": (None, 0), "top_p": (None, 1.0), "min_p": (None, 0.0), "top_h": (None,),
    "typical_p": (None, 1.0), "epsilon_cutoff": (None, 0.0), "eta_cutoff": (None, 0.0),
    "repetition_penalty": (None, 1.0), "encoder_repetition_penalty": (None, 1.0), "no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,), "suppress_tokens": (None,), "begin_suppress_tokens": (None,), "sequence_bias": (None,),
    "forced_bos_token_id": (None,), "forced_eos_token_id": (None,), "exponential_decay_length_penalty": (None,),
    "min_length": (None, 0), "min_new_tokens": (None, 0), "guidance_scale": (None, 1.0), "penalty_alpha": (None, 0.0),
    "watermarking_config": (None,),
}  # fmt: skip


@check(
    "vocabularies fit the models",
    prevents="token ids without an embedding, or tokens of the model that can never be chosen",
    remedy="use the tokenizer the model was trained with, or call resize_token_embeddings and train the new rows",
)
def vocabularies_fit(case: Case) -> Finding:
    """Per model: ids are 0 … V - 1 without holes, and the model knows them all; the reference reads the policy's."""
    told, passed = [], True
    for part in case.parts:
        for tokenizer in [part.tokenizer] if part is not case.reference else [part.tokenizer, case.policy.tokenizer]:
            size, largest = len(tokenizer), max(tokenizer.get_vocab().values())
            passed &= largest < size <= part.vocab_size
            told.append(f"{part.name}: {size} tokens, largest id {largest}, the model knows {part.vocab_size}")
    return Finding(passed, "; ".join(dict.fromkeys(told)))


@check(
    "same ids for the same text",
    prevents="a KL penalty that compares log-probabilities of different texts",
    remedy="give the policy and the reference the same tokenizer files",
)
def same_ids(case: Case) -> Finding:
    """The reference reads the policy's ids, so both tokenizers must agree; a reward model is given texts."""
    told = "the reference is the policy itself"
    different = []
    if case.reference is not None:
        pair = case.policy.tokenizer, case.reference.tokenizer
        texts = case.sample.prompts
        different = [text for text in texts if encode_prompt(pair[0], text) != encode_prompt(pair[1], text)]
        told = f"policy and reference differ on {len(different)} of {len(texts)} prompts"
        if pair[0].eos_token_id != pair[1].eos_token_id:
            different.append("")
            told += f", and end with {pair[0].eos_token_id} and {pair[1].eos_token_id}"
    if case.reward_model is not None:
        shared = case.reward_model.tokenizer.get_vocab() == case.policy.tokenizer.get_vocab()
        told += "; the reward model " + (
            "shares the policy's vocabulary" if shared else "has a vocabulary of its own, which is fine: it reads texts"
        )
    return Finding(not different, told)


@check(
    "end and padding tokens",
    prevents="completions that never end, or a batch that cannot be padded",
    remedy="set tokenizer.eos_token to the token the model was trained to end with, and save the tokenizer; the end "
    "token also pads where there is no padding token",
)
def end_and_padding(case: Case) -> Finding:
    """The policy's tokenizer ends as its model does, and every part can pad; padding with the end token is fine."""
    end, passed, told = case.policy.tokenizer.eos_token_id, True, []
    if end is None:
        passed = False
        told.append("the policy's tokenizer has no end token")
    elif case.policy.end_ids and end not in case.policy.end_ids:
        passed = False
        told.append(f"the policy's tokenizer ends with {end}, its model with {sorted(case.policy.end_ids)}")
    else:
        told.append(f"the policy ends with {end}")
    for part in case.parts:
        pad, its_end = part.tokenizer.pad_token_id, part.tokenizer.eos_token_id
        passed &= pad is not None or its_end is not None
        told.append(
            f"{part.name} pads with "
            + (f"{pad}" + ", its end token, which is fine" * (pad == its_end) if pad is not None else
               "nothing" if its_end is None else f"its end token {its_end}")
        )  # fmt: skip
    return Finding(passed, "; ".join(told))


@check(
    "generation settings do not warp",
    prevents="an exported policy that generates from another distribution than was trained and evaluated",
    remedy=f"remove these settings from the policy's {GENERATION_FILE}; training samples at temperature 1 without them",
)
def generation_settings(case: Case) -> Finding:
    """What the file sets explicitly; the policy is exported with it."""
    warping = {
        name: value
        for name, value in case.policy.generation.items()
        if name in WARPERS and value not in WARPERS[name]
    }  # fmt: skip
    told = ", ".join(f"{name}={value}" for name, value in warping.items())
    return Finding(not warping, f"{GENERATION_FILE} sets {told or 'nothing that changes the distribution'}")
