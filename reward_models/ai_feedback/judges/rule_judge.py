"""Rules in the place of a language model: they compare replies, criticise them and write them anew."""

import hashlib
import inspect
import sys
import uuid
from collections.abc import Sequence

import numpy as np

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judges.questions import Draft, FloatArray, JudgeQuestion, Revision
from textrl_env.reward_models.ai_feedback.judges.requests import flatten_prompt
from textrl_env.reward_models.ai_feedback.rules import RULES, Rule
from textrl_env.reward_models.feedback.simulated_raters import sigmoid

SHARPNESS = 2.0
"""Nats of preference per fault: a fault more is worse with probability 0.88."""


class RuleJudge:
    """Judges by P(first is better) = sigmoid(SHARPNESS · (faults of the second - faults of the first)); also revises.

    It answers the same in both orders, and 1/2 where the principle's rule finds as many faults in both replies.
    """

    name, batch_size, workers = "rules", 256, 1

    def __init__(self) -> None:
        code = "".join(f"{name}{_read_code(rule)}" for name, rule in sorted(RULES.items()))
        self.identity = f"rules-{hashlib.sha256(code.encode()).hexdigest()[:12]}"

    def check(self, questions: Sequence[JudgeQuestion]) -> None:
        """Raises InputError naming a principle without a rule."""
        for principle in dict.fromkeys(question.principle for question in questions):
            get_rule(principle)

    def prefers_first(self, questions: Sequence[JudgeQuestion]) -> FloatArray:
        """Returns how likely the first reply is better; see `Judge`."""
        faults = np.array([_count_faults(question) for question in questions], dtype=np.float64)
        return sigmoid(SHARPNESS * (faults[:, 1] - faults[:, 0]))

    def revise(self, drafts: Sequence[Draft]) -> list[Revision]:
        """Mends what the rules can mend; a reply without faults stays as it is."""
        revisions = []
        for draft in drafts:
            rule, prompt = get_rule(draft.principle), flatten_prompt(draft.prompt)
            faults = rule.find_faults(prompt, draft.completion)
            text = rule.revise(prompt, draft.completion) if faults else draft.completion
            revisions.append(Revision("; ".join(faults) or "nothing goes against the principle", text))
        return revisions


def get_rule(principle: Principle) -> Rule:
    """Returns the principle's rule; InputError where it names none."""
    if principle.rule is None:
        raise InputError(
            f"the principle {principle.id!r} has no rule, so rules cannot judge by it; give it one of "
            f"{', '.join(sorted(RULES))}, or take a language model as the judge"
        )
    return RULES[principle.rule]


def _count_faults(question: JudgeQuestion) -> list[int]:
    rule, prompt = get_rule(question.principle), flatten_prompt(question.prompt)
    return [len(rule.find_faults(prompt, reply)) for reply in (question.first, question.second)]


def _read_code(rule: Rule) -> str:
    """Returns the code of a rule's module, since a changed rule wants new answers; unknown code may have changed."""
    try:
        return inspect.getsource(sys.modules[type(rule).__module__])
    except (OSError, TypeError, KeyError):
        return uuid.uuid4().hex
