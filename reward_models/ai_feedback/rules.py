"""Rules: critics that are programs, so that AI feedback can be taught and tested without any model.

A constitution names a rule; the code stands here, or is registered by the program that uses it.
"""

from typing import Protocol

from textrl_env.errors import InputError
from textrl_env.reward_models.ai_feedback import support_desk_rules as desk


class Rule(Protocol):
    """A critic of one principle; a function of its arguments alone."""

    def faults(self, prompt: str, completion: str) -> list[str]:
        """What in the completion goes against the principle, one sentence a fault; none if nothing does."""

    def revised(self, prompt: str, completion: str) -> str:
        """The completion with those faults mended that the rule can mend."""


RULES: dict[str, Rule] = {
    "desk_helpful": desk.Helpful(),
    "desk_polite": desk.Polite(),
    "desk_harmless": desk.Harmless(),
    "desk_honest": desk.Honest(),
    "desk_concise": desk.Concise(),
}
"""By the name that constitutions use."""


def register_rule(name: str, rule: Rule) -> None:
    """Lets constitutions name a rule of yours; InputError where the name is taken."""
    if name in RULES:
        raise InputError(f"there is a rule {name!r} already; give yours another name")
    RULES[name] = rule
