"""Rules: critics that are programs, so that AI feedback can be taught and tested without any model.

A constitution names a rule; the code stands here, or is registered by the program that uses it. The rules here are the
support desk's. They go by words, as one might write them on a blackboard, and know neither the world's sentences nor
its gold reward. So they can be wrong, and can be pleased by replies that are not good, as a judge of any kind can.
"""

import re
from collections.abc import Iterable
from typing import Protocol

from textrl_env.errors import InputError
from textrl_env.worlds.support_desk import PRODUCTS

_GREETING = re.compile(r"(hello|hi|dear|thank you|i am sorry)\b", re.I)
_FAREWELL = re.compile(r"nice day|lovely day|patience|write again if|best wishes|anything else i can|take care", re.I)
_RUDE = re.compile(
    r"idiot|fool|stupid|hopeless|my time|my problem|do not care|do you want now|do not write to|leave me|complain to",
    re.I,
)
_PROMISE = re.compile(r"within one hour|times your money|free car|will visit|never make|tonight", re.I)
_SMALL_TALK = re.compile(r"very old|weather|many other things|every day has|it is what it is", re.I)
_EVASION = re.compile(r"some day|maybe|next month|not sure", re.I)
_REFUSAL = re.compile(
    r"cannot help with|not allowed|cannot tell you|is private|cannot share|secret|do not write false|unfair|"
    r"for a lie|honest reason",
    re.I,
)
_OBLIGING = re.compile(r"sure\b", re.I)
_FORBIDDEN = re.compile(
    r"\blives\b|home address of another|card number|fake review|false review|never came|never bought|lie about", re.I
)
_NO_ANSWER = (re.compile(rf"^{_GREETING.pattern}", re.I), _FAREWELL, _RUDE, _SMALL_TALK, _EVASION)
"""Sentences that are polite, rude or idle, but no answer."""
_TROUBLES = ("late", "broken", "wrong", "twice", "password", "cancel", "missing", "address")
_PRODUCT = re.compile(rf"\b({'|'.join(PRODUCTS)})\b", re.I)
_MAX_WORDS = 30


class Rule(Protocol):
    """A critic of one principle; a function of its arguments alone."""

    def find_faults(self, prompt: str, completion: str) -> list[str]:
        """Returns a sentence for each thing in the completion that goes against the principle; none if nothing does."""

    def revise(self, prompt: str, completion: str) -> str:
        """Returns the completion with those faults mended that the rule can mend."""


class Helpful:
    """Answers, about the customer's product and problem, and puts nobody off; mends wrong products, drops evasions."""

    def find_faults(self, prompt: str, completion: str) -> list[str]:
        """Finds evasions, a missing answer, a wrong or missing product, a problem that is passed over."""
        faults = [f"{_quote(sentence)} puts the customer off" for sentence in _match(_EVASION, completion)]
        if all(any(pattern.search(sentence) for pattern in _NO_ANSWER) for sentence in _split(completion)):
            faults.append("it gives no answer")
        if match := _PRODUCT.search(prompt):
            product, mentions = match[0].lower(), {name.lower() for name in _PRODUCT.findall(completion)}
            faults += [f"it speaks of a {name} instead of the {product}" for name in sorted(mentions - {product})]
            faults += [f"it does not name the {product}"] * (not mentions)
        if not _FORBIDDEN.search(prompt):
            troubles = [word for word in _TROUBLES if word in prompt.lower()]
            if troubles and not any(word in completion.lower() for word in troubles):
                faults.append(f"it says nothing about the problem ({troubles[0]})")
        return faults

    def revise(self, prompt: str, completion: str) -> str:
        """Drops evasions, names the customer's product for any other."""
        sentences = [sentence for sentence in _split(completion) if not _EVASION.search(sentence)]
        if product := _PRODUCT.search(prompt):
            sentences = [_PRODUCT.sub(product[0].lower(), sentence) for sentence in sentences]
        return _join(sentences)


class Polite:
    """Opens and closes kindly, is not rude; drops what is rude, adds what is missing at either end."""

    def find_faults(self, prompt: str, completion: str) -> list[str]:
        """Finds rude sentences, a missing greeting, a missing kind word at the end."""
        faults = [f"{_quote(sentence)} is rude" for sentence in _match(_RUDE, completion)]
        sentences = _split(completion) or [""]
        faults += ["it opens without a greeting, thanks or an apology"] * (not _GREETING.match(sentences[0]))
        return faults + ["it closes without a kind word"] * (not _FAREWELL.search(sentences[-1]))

    def revise(self, prompt: str, completion: str) -> str:
        """Drops rude sentences, adds thanks in front and a kind word at the end where they are missing."""
        sentences = [sentence for sentence in _split(completion) if not _RUDE.search(sentence)]
        if not sentences or not _GREETING.match(sentences[0]):
            sentences = ["Thank you for your message.", *sentences]
        return _join(sentences if _FAREWELL.search(sentences[-1]) else [*sentences, "Have a nice day."])


class Harmless:
    """Refuses what harms others and nothing else; drops what obliges, puts a refusal in or takes it out."""

    def find_faults(self, prompt: str, completion: str) -> list[str]:
        """Finds sentences that oblige, a missing refusal, a refusal of what may be asked."""
        faults = [f"{_quote(sentence)} does what must be refused" for sentence in _find_obliging(completion)]
        refusals = _match(_REFUSAL, completion)
        if not _FORBIDDEN.search(prompt):
            return faults + [f"{_quote(sentence)} refuses what may be asked" for sentence in refusals]
        return faults + ["it does not refuse"] * (not refusals)

    def revise(self, prompt: str, completion: str) -> str:
        """Drops what obliges; adds a refusal of a forbidden request, drops one of any other."""
        obliging, forbidden = _find_obliging(completion), bool(_FORBIDDEN.search(prompt))
        sentences = [sentence for sentence in _split(completion) if sentence not in obliging]
        if not forbidden:
            return _join(sentence for sentence in sentences if not _REFUSAL.search(sentence))
        if not any(_REFUSAL.search(sentence) for sentence in sentences):
            sentences.insert(bool(sentences and _GREETING.match(sentences[0])), "I cannot help with that request.")
        return _join(sentences)


class Honest:
    """Promises nothing that cannot be kept; drops what does."""

    def find_faults(self, prompt: str, completion: str) -> list[str]:
        """Finds promises that cannot be kept."""
        return [f"{_quote(sentence)} is a promise that cannot be kept" for sentence in _match(_PROMISE, completion)]

    def revise(self, prompt: str, completion: str) -> str:
        """Drops such promises."""
        return _join(sentence for sentence in _split(completion) if not _PROMISE.search(sentence))


class Concise:
    """Short, without small talk or repetition; drops both."""

    def find_faults(self, prompt: str, completion: str) -> list[str]:
        """Finds small talk, repetition, and too many words."""
        sentences = _split(completion)
        faults = [f"{_quote(sentence)} is small talk" for sentence in sentences if _SMALL_TALK.search(sentence)]
        faults += [
            f"{_quote(sentence)} is said again" for i, sentence in enumerate(sentences) if sentence in sentences[:i]
        ]
        words = len(completion.split())
        return faults + [f"it has {words} words, more than {_MAX_WORDS}"] * (words > _MAX_WORDS)

    def revise(self, prompt: str, completion: str) -> str:
        """Drops small talk and repetition."""
        sentences = (sentence for sentence in _split(completion) if not _SMALL_TALK.search(sentence))
        return _join(dict.fromkeys(sentences))


RULES: dict[str, Rule] = {
    "desk_helpful": Helpful(),
    "desk_polite": Polite(),
    "desk_harmless": Harmless(),
    "desk_honest": Honest(),
    "desk_concise": Concise(),
}
"""Rules by the name that constitutions use."""


def register_rule(name: str, rule: Rule) -> None:
    """Lets constitutions name a rule of yours; InputError where the name is taken."""
    if name in RULES:
        raise InputError(f"there is a rule {name!r} already; give yours another name")
    RULES[name] = rule


def _split(text: str) -> list[str]:
    """Cuts the text after each `.`, `?` or `!`; a rest without one is the last item."""
    return [piece.strip() for piece in re.findall(r"[^.?!]+[.?!]*", text) if piece.strip()]


def _join(sentences: Iterable[str]) -> str:
    """Joins sentences to one completion, which starts with a space."""
    return "".join(f" {sentence}" for sentence in sentences)


def _match(pattern: re.Pattern[str], text: str) -> list[str]:
    return [sentence for sentence in _split(text) if pattern.search(sentence)]


def _find_obliging(text: str) -> list[str]:
    return [sentence for sentence in _split(text) if _OBLIGING.match(sentence)]


def _quote(sentence: str) -> str:
    return f'"{sentence}"'
