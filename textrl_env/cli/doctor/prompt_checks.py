"""Is every prompt readable, and is there room for it?"""

from textrl_env.cli.doctor.case import Case
from textrl_env.cli.doctor.check import Finding, check


@check(
    "prompts are readable",
    prevents="a run that stops at a bad row, or that trains on fewer prompts than you think",
    remedy="mend the rows, or leave them out with --on-bad-row skip",
)
def rows_readable(case: Case) -> Finding:
    """Every row of the file has a prompt; repeated ones are counted, since they are drawn more often."""
    if not case.from_file:
        return Finding(None, "no file given; prompts of the support desk are used")
    if case.bad_rows:
        return Finding(False, case.bad_rows)
    first: dict[str, str] = {}
    repeats = [
        (where, first[text])
        for text, where in zip(case.prompts.prompts, case.prompts.where, strict=True)
        if first.setdefault(text, where) != where
    ]
    told = f"{len(repeats)} repeat another"
    if repeats:
        told += f", the first: {repeats[0][0]} that of {repeats[0][1]}"
    return Finding(True, f"{len(case.prompts)} prompts, {told}")


@check(
    "prompts fit the context",
    prevents="an error at the start, or positions the model was never trained on",
    remedy="shorten or remove these prompts, or lower --max-new-tokens",
)
def prompts_fit(case: Case) -> Finding:
    """Every prompt has a token, and leaves room for `max_new_tokens` in every model's context."""
    told = []
    for part in case.parts:
        lengths, unfit = case.lengths[part], case.misfits(part)
        told.append(f"{part.name}: longest {lengths.max()} tokens, room for {case.room(part)}")
        if len(unfit):
            place = unfit[0]
            told[-1] += f"; {len(unfit)} of {len(lengths)} do not fit, the first: {case.prompts.where[place]} with "
            told[-1] += f"{lengths[place]}"
    return Finding(not any(len(case.misfits(part)) for part in case.parts), "; ".join(told))
