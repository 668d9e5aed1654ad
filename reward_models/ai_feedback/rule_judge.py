"""Rules in the place of a language model: they compare replies, criticise them and write them anew."""

import hashlib
import inspect
import sys
import uuid
from collections.abc import Sequence

import numpy as np

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback.constitution import Principle
from textrl_env.reward_models.ai_feedback.judge import FloatArray, Question
from textrl_env.reward_models.ai_feedback.requests import as_text
from textrl_env.reward_models.ai_feedback.revision import Draft, Revision
from textrl_env.reward_models.ai_feedback.rules import RULES, Rule
from textrl_env.reward_models.feedback.raters import sigmoid

SHARPNESS = 2.0
"""Nats of preference per fault: a fault more is worse with probability 0.88."""


class RuleJudge:
    """P(first is better) = sigmoid(SHARPNESS · (faults of the second - faults of the first)); a reviser as well.

    It is the same in both orders, and 1/2 where the principle's rule finds as many faults in both.
    """

    name, batch_size, workers = "rules", 256, 1

    def __init__(self) -> None:
        code = "".join(f"{name}{_code_of(rule)}" for name, rule in sorted(RULES.items()))
        self.identity = f"rules-{hashlib.sha256(code.encode()).hexdigest()[:12]}"

    def check(self, questions: Sequence[Question]) -> None:
        """InputError naming a principle without a rule."""
        for principle in dict.fromkeys(question.principle for question in questions):
            rule_of(principle)

    def prefers_first(self, questions: Sequence[Question]) -> FloatArray:
        """See `Judge`."""
        faults = np.array([[self._count(q, q.first), self._count(q, q.second)] for q in questions], dtype=np.float64)
        return sigmoid(SHARPNESS * (faults[:, 1] - faults[:, 0]))

    def revise(self, drafts: Sequence[Draft]) -> list[Revision]:
        """See `Reviser`; a reply without faults stays as it is."""
        revisions = []
        for draft in drafts:
            rule, prompt = rule_of(draft.principle), as_text(draft.prompt)
            faults = rule.faults(prompt, draft.completion)
            text = rule.revised(prompt, draft.completion) if faults else draft.completion
            revisions.append(Revision("; ".join(faults) or "nothing goes against the principle", text))
        return revisions

    def _count(self, question: Question, completion: str) -> int:
        return len(rule_of(question.principle).faults(as_text(question.prompt), completion))


def _code_of(rule: Rule) -> str:
    """Whoever changes a rule wants new answers; so does code that cannot be seen, since it may have changed."""
    try:
        return inspect.getsource(sys.modules[type(rule).__module__])
    except (OSError, TypeError, KeyError):
        return uuid.uuid4().hex


def rule_of(principle: Principle) -> Rule:
    """InputError where the principle names none."""
    if principle.rule is None:
        raise InputError(
            f"the principle {principle.id!r} has no rule, so rules cannot judge by it; give it one of "
            f"{', '.join(sorted(RULES))}, or take a language model as the judge"
        )
    return RULES[principle.rule]
