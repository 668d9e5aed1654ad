"""Checks of files alone: readable prompts with room in the context, and tokenizers that fit their models."""

from textrl_env.checks import Finding, check, pass_or_fail
from textrl_env.data.text import encode_prompt
from textrl_env.pipeline.doctor.setup import GENERATION_FILE, ModelFiles, TrainingSetup

# Settings with which `generate` changes the model's distribution, and the values at which they do not.
WARPERS = {
    **dict.fromkeys(("temperature", "top_p", "typical_p", "guidance_scale"), (None, 1.0)),
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty"), (None, 1.0)),
    **dict.fromkeys(("min_p", "epsilon_cutoff", "eta_cutoff", "penalty_alpha"), (None, 0.0)),
    **dict.fromkeys(("top_k", "no_repeat_ngram_size", "min_length", "min_new_tokens"), (None, 0)),
    **dict.fromkeys(("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias"), (None,)),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "top_h", "watermarking_config"), (None,)),
    "exponential_decay_length_penalty": (None,),
}


@check(
    "prompts are readable",
    consequence="a run that stops at a bad row, or that trains on fewer prompts than you think",
    remedy="mend the rows, or leave them out with --on-bad-row skip",
)
def rows_readable(setup: TrainingSetup) -> Finding:
    """Rows of the file all have a prompt; repeated ones are counted, since they are drawn more often."""
    if not setup.from_file:
        return Finding("not applicable", "no file given; prompts of the support desk are used")
    if setup.bad_rows:
        return Finding("failed", setup.bad_rows)
    first: dict[str, str] = {}
    repeats = [
        (where, first[text])
        for text, where in zip(setup.prompts.prompts, setup.prompts.where, strict=True)
        if first.setdefault(text, where) != where
    ]
    message = f"{len(setup.prompts)} prompts, {len(repeats)} repeat another"
    if repeats:
        message += f", the first: {repeats[0][0]} that of {repeats[0][1]}"
    return Finding("passed", message)


@check(
    "prompts fit the context",
    consequence="an error at the start, or positions the model was never trained on",
    remedy="shorten or remove these prompts, or lower --max-new-tokens",
)
def prompts_fit(setup: TrainingSetup) -> Finding:
    """Prompts have a token, and leave room for `max_new_tokens` in every model's context."""
    messages = []
    for files in setup.models:
        lengths, misfits = setup.lengths[files], setup.misfits(files)
        message = f"{files.name}: longest {lengths.max()} tokens, room for {setup.room(files)}"
        if len(misfits):
            place = misfits[0]
            message += f"; {len(misfits)} of {len(lengths)} do not fit, the first: {setup.prompts.where[place]} with "
            message += f"{lengths[place]}"
        messages.append(message)
    return Finding(pass_or_fail(not any(len(setup.misfits(files)) for files in setup.models)), "; ".join(messages))


@check(
    "vocabularies fit the models",
    consequence="token ids without an embedding, or tokens of the model that can never be chosen",
    remedy="use the tokenizer the model was trained with, or call resize_token_embeddings and train the new rows",
)
def vocabularies_fit(setup: TrainingSetup) -> Finding:
    """Ids of every model are 0 … V - 1 without holes, and it knows them all; the reference reads the policy's."""
    messages, fits = [], True
    for files in setup.models:
        tokenizers = [files.tokenizer]
        if files is setup.reference:
            tokenizers.append(setup.policy.tokenizer)
        for tokenizer in tokenizers:
            size, largest = len(tokenizer), max(tokenizer.get_vocab().values())
            fits &= largest < size <= files.vocab_size
            messages.append(f"{files.name}: {size} tokens, largest id {largest}, the model knows {files.vocab_size}")
    return Finding(pass_or_fail(fits), "; ".join(dict.fromkeys(messages)))


@check(
    "same ids for the same text",
    consequence="a KL penalty that compares log-probabilities of different texts",
    remedy="give the policy and the reference the same tokenizer files",
)
def same_ids(setup: TrainingSetup) -> Finding:
    """The reference reads the policy's ids, so both tokenizers must agree; a reward model is given texts."""
    message, same = "the reference is the policy itself", True
    if setup.reference is not None:
        policy, reference = setup.policy.tokenizer, setup.reference.tokenizer
        texts = setup.sample.prompts
        n_different = sum(encode_prompt(policy, text) != encode_prompt(reference, text) for text in texts)
        message = f"policy and reference differ on {n_different} of {len(texts)} prompts"
        same = not n_different
        if policy.eos_token_id != reference.eos_token_id:
            same = False
            message += f", and end with {policy.eos_token_id} and {reference.eos_token_id}"
    if setup.reward_model is not None:
        if setup.reward_model.tokenizer.get_vocab() == setup.policy.tokenizer.get_vocab():
            message += "; the reward model shares the policy's vocabulary"
        else:
            message += "; the reward model has a vocabulary of its own, which is fine: it reads texts"
    return Finding(pass_or_fail(same), message)


@check(
    "end and padding tokens",
    consequence="completions that never end, or a batch that cannot be padded",
    remedy="set tokenizer.eos_token to the token the model was trained to end with, and save the tokenizer; the end "
    "token also pads where there is no padding token",
)
def end_and_padding(setup: TrainingSetup) -> Finding:
    """The policy's tokenizer ends as its model does, and every model can pad; padding with the end token is fine."""
    end, end_ids = setup.policy.tokenizer.eos_token_id, setup.policy.end_ids
    message, ends_well = f"the policy ends with {end}", True
    if end is None:
        message, ends_well = "the policy's tokenizer has no end token", False
    elif end_ids and end not in end_ids:
        message, ends_well = f"the policy's tokenizer ends with {end}, its model with {sorted(end_ids)}", False
    tokenizers = [files.tokenizer for files in setup.models]
    pads = all(tokenizer.pad_token_id is not None or tokenizer.eos_token_id is not None for tokenizer in tokenizers)
    return Finding(pass_or_fail(ends_well and pads), "; ".join([message, *map(_describe_padding, setup.models)]))


def _describe_padding(files: ModelFiles) -> str:
    pad, end = files.tokenizer.pad_token_id, files.tokenizer.eos_token_id
    if pad is None:
        return f"{files.name} pads with " + ("nothing" if end is None else f"its end token {end}")
    note = ", its end token, which is fine" if pad == end else ""
    return f"{files.name} pads with {pad}{note}"


@check(
    "generation settings do not warp",
    consequence="an exported policy that generates from another distribution than was trained and evaluated",
    remedy=f"remove these settings from the policy's {GENERATION_FILE}; training samples at temperature 1 without them",
)
def generation_settings(setup: TrainingSetup) -> Finding:
    """The file sets nothing that changes the distribution; the policy is exported with it."""
    settings = setup.policy.generation
    warping = [name for name, value in settings.items() if name in WARPERS and value not in WARPERS[name]]
    names = ", ".join(f"{name}={settings[name]}" for name in warping)
    return Finding(
        pass_or_fail(not warping), f"{GENERATION_FILE} sets {names or 'nothing that changes the distribution'}"
    )
