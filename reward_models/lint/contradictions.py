"""The same two completions of a prompt, preferred one way and the other."""

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.finding import Example, Finding, Severity
from textrl_env.reward_models.lint.words import IntArray


def _contradictory(case: Case) -> list[Finding]:
    names: dict[str | None, int] = {}
    annotator = np.array([names.setdefault(each.annotator, len(names)) for each in case.labels])[case.pairs.row]
    question = case.items.question
    of_one = np.unique(question * len(names) + annotator, return_inverse=True)[1].astype(np.int64)
    n_asked = int(question.max()) + 1
    themselves = _both_ways(of_one, case.items.sign)
    question_of = np.zeros(int(of_one.max()) + 1, dtype=np.int64)
    question_of[of_one] = question
    known = set(question_of[themselves].tolist())
    each_other = [group for group in _both_ways(question, case.items.sign) if group not in known]
    whose = "by the same annotator" if set(names) - {None} else "by rows without an annotator"
    return _findings(
        case, "contradictory pairs", "warning", f"are preferred both ways {whose}", of_one, themselves, n_asked,
        "ask again, or drop both: together they teach nothing",
    ) + _findings(
        case, "disagreement", "notice", "are preferred both ways by different annotators", question, each_other,
        n_asked, "textrl raters says how far annotators agree and whom to believe",
    )  # fmt: skip


def _both_ways(group: IntArray, sign: IntArray) -> list[int]:
    """Groups in which both signs occur."""
    up, down = (np.bincount(group[sign == side], minlength=int(group.max()) + 1) for side in (1, -1))
    return np.flatnonzero((up > 0) & (down > 0)).tolist()


def _findings(
    case: Case, check: str, severity: Severity, message: str, group: IntArray, found: list[int], n: int, remedy: str
) -> list[Finding]:
    if not found:
        return []
    shown = [_example(case, np.flatnonzero(group == each)) for each in found[: case.options.examples]]
    return [Finding(check, severity, message, len(found), n, "pairs", remedy, examples=tuple(shown))]


def _example(case: Case, members: IntArray) -> Example:
    """The first pair of each direction."""
    sign, pairs = case.items.sign[members], case.pairs
    one, other = (int(members[sign == side][0]) for side in (1, -1))
    one, other = sorted((one, other))
    return case.example(
        [int(pairs.row[one]), int(pairs.row[other])],
        int(pairs.prompt[one]), int(pairs.better[one]), int(pairs.worse[one]),
    )  # fmt: skip


contradictory = Check("contradictory pairs", nothing, _contradictory)
