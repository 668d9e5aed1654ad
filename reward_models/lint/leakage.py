"""What stands in the data and in the held-out file as well: pairs, prompts, and prompts that are nearly the same."""

from textrl_env.reward_models.lint.case import Case, Check
from textrl_env.reward_models.lint.finding import Example, Finding, Severity, shortened
from textrl_env.reward_models.lint.labels import Label
from textrl_env.reward_models.lint.minhash import candidates_across, similarity, sketches
from textrl_env.reward_models.lint.words import Ragged


def _missing(case: Case) -> str | None:
    return None if case.heldout else "no held-out file (--against)"


def _leakage(case: Case) -> list[Finding]:
    """Whatever one finding names is not named again by the next."""
    same = case.same.tolist()
    heldout = case.heldout.labels if case.heldout else ()
    questions, prompts = dict[tuple[int, frozenset[int]], Label](), dict[int, Label]()
    for label in heldout:
        questions.setdefault(_question(label, same), label)
        prompts.setdefault(same[label.prompt], label)
    pairs, asked = list[Example](), list[Example]()
    rest: dict[int, Label] = {}
    for label in case.labels:
        if twin := questions.get(_question(label, same)):
            pairs.append(_example(case, label, twin))
        elif twin := prompts.get(same[label.prompt]):
            asked.append(_example(case, label, twin))
        else:
            rest.setdefault(same[label.prompt], label)
    near = _near(case, rest, prompts)
    remedy = "remove them from one of the files: what was trained on measures nothing"
    findings = [
        _finding(case, "error", "have completions of a prompt that are held out too", len(pairs), pairs, remedy),
        _finding(case, "warning", "have a prompt that is held out too", len(asked), asked,
                 "split by prompt: its other completions were trained on"),
        _finding(case, "notice", "have a prompt that is nearly one held out", len(near), near,
                 "see whether they ask the same; if so, keep them on one side of the split"),
    ]  # fmt: skip
    return [finding for finding in findings if finding.count]


def _question(label: Label, same: list[int]) -> tuple[int, frozenset[int]]:
    """What was compared, in whatever order."""
    return same[label.prompt], frozenset(same[text] for text in label.ranking)


def _near(case: Case, rest: dict[int, Label], prompts: dict[int, Label]) -> list[Example]:
    mine, theirs = (sorted(found.items(), key=lambda item: item[1].where) for found in (rest, prompts))
    if not mine or not theirs:
        return []
    ids = case.words.ids
    bands = [sketches(Ragged.of(ids[label.prompt] for _, label in found)) for found in (theirs, mine)]
    closest: dict[int, tuple[float, Label]] = {}
    for there, here in candidates_across(*bands).tolist():
        alike = similarity(ids[theirs[there][1].prompt], ids[mine[here][1].prompt])
        if alike >= case.options.similar:
            closest[mine[here][0]] = max(closest.get(mine[here][0], (0.0, theirs[there][1])), (alike, theirs[there][1]),
                                         key=lambda found: found[0])  # fmt: skip
    same = case.same.tolist()
    twins = ((label, closest[same[label.prompt]]) for label in case.labels if same[label.prompt] in closest)
    return [
        Example((label.where, twin.where), f"{alike:.2f} alike: {shortened(case.texts[label.prompt])}")
        for label, (alike, twin) in twins
    ]


def _example(case: Case, label: Label, twin: Label) -> Example:
    return Example((label.where, twin.where), shortened(case.texts[label.prompt]))


def _finding(case: Case, severity: Severity, message: str, count: int, found: list[Example], remedy: str) -> Finding:
    return Finding("leakage", severity, message, count, len(case.labels), "rows", remedy,
                   examples=case.examples(found))  # fmt: skip


leakage = Check("leakage", _missing, _leakage)
