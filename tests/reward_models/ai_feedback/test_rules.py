"""The support desk's critics, held against the world's own knowledge, which they do not have."""

import importlib.util
import linecache
import sys
from pathlib import Path

import numpy as np
import pytest

from textrl_env.reward_models.ai_feedback import support_desk_constitution
from textrl_env.reward_models.ai_feedback.judges import Draft, JudgeQuestion, RuleJudge
from textrl_env.reward_models.ai_feedback.labels import judge_both_orders
from textrl_env.reward_models.ai_feedback.rules import RULES
from textrl_env.worlds import support_desk
from textrl_env.worlds.support_desk import language

PROMPT = "Customer: Hello, my lamp arrived broken yesterday.\nAgent:"
HARMFUL = "Customer: Hello, write a fake review about the lamp for me.\nAgent:"


@pytest.fixture(scope="module")
def demonstrations() -> list[dict[str, str]]:
    return support_desk.demonstrations(1500, seed=0)


def test_perfect_replies_have_no_fault() -> None:
    rng = np.random.default_rng(0)
    for row in support_desk.prompts(1500, seed=1):
        reply = support_desk.best_completion(row["prompt"], rng)
        assert not [fault for rule in RULES.values() for fault in rule.find_faults(row["prompt"], reply)]


@pytest.mark.parametrize(
    ("rule", "term", "bound"),
    [
        ("desk_helpful", "helpful", 0.8),
        ("desk_polite", "polite", 0.8),
        ("desk_harmless", "harmless", 0.4),
        ("desk_honest", "honest", 0.8),
        ("desk_concise", "concise", 0.6),
    ],
)
def test_a_reply_without_fault_is_better_in_that_respect(
    rule: str, term: str, bound: float, demonstrations: list[dict[str, str]]
) -> None:
    """The bounds are below 1: the gold reward's terms also ask that there be an answer at all."""
    clean = [not RULES[rule].find_faults(row["prompt"], row["completion"]) for row in demonstrations]
    gold = [support_desk.gold_terms(row["prompt"], row["completion"])[term] for row in demonstrations]
    assert np.corrcoef(clean, gold)[0, 1] > bound


@pytest.mark.parametrize("rule", ["desk_polite", "desk_harmless", "desk_honest"])
def test_these_rules_mend_every_fault_they_find(rule: str, demonstrations: list[dict[str, str]]) -> None:
    found = 0
    for row in demonstrations:
        found += bool(RULES[rule].find_faults(row["prompt"], row["completion"]))
        assert not RULES[rule].find_faults(row["prompt"], RULES[rule].revise(row["prompt"], row["completion"]))
    assert found > 100


@pytest.mark.parametrize("rule", sorted(RULES))
def test_no_rule_makes_more_faults_or_invents_words(rule: str, demonstrations: list[dict[str, str]]) -> None:
    vocabulary = set(language.vocabulary())
    for row in demonstrations[:500]:
        revised = RULES[rule].revise(row["prompt"], row["completion"])
        before, after = (len(RULES[rule].find_faults(row["prompt"], text)) for text in (row["completion"], revised))
        assert after <= before
        assert set(language.tokens(revised)) <= vocabulary


def test_the_customers_harmful_requests_are_told_from_the_others() -> None:
    """By the faults of a refusal: one is due for a harmful request, and wrong for any other."""
    for row in support_desk.prompts(2000, seed=3):
        refusal = RULES["desk_harmless"].find_faults(row["prompt"], " I cannot help with that request.")
        assert bool(refusal) is not row["harmful"]


def test_critiques_quote_and_revisions_edit() -> None:
    rude = " What do you want now? I will replace the broken kettle with a new one. It will be done within one hour."
    judge, principles = RuleJudge(), {p.id: p for p in support_desk_constitution().principles}
    made = judge.revise([Draft(PROMPT, rude, principles[name]) for name in ("polite", "honest", "helpful", "harmless")])
    assert made[0].critique.startswith('"What do you want now?" is rude; it opens without')
    assert made[0].text == (
        " Thank you for your message. I will replace the broken kettle with a new one. It will be done within one hour."
        " Have a nice day."
    )
    assert made[1].text == " What do you want now? I will replace the broken kettle with a new one."
    assert "broken lamp" in made[2].text and "instead of the lamp" in made[2].critique
    assert (made[3].critique, made[3].text) == ("nothing goes against the principle", rude)
    sure = " Hello, thank you for writing. Sure, I will post ten fake reviews."
    (refused,) = judge.revise([Draft(HARMFUL, sure, principles["harmless"])])
    assert refused.text == " Hello, thank you for writing. I cannot help with that request."


def test_a_rule_that_was_changed_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers on the disk are those of the code that gave them."""
    identities = []
    for number in range(3):
        (tmp_path / "mine.py").write_text(f"class Mine:\n    number = {number // 2}\n")
        spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        linecache.clearcache()
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, "mine", module)
        monkeypatch.setitem(RULES, "mine", module.Mine())
        identities.append(RuleJudge().identity)
    assert identities[0] == identities[1] != identities[2]


def test_one_fault_more_is_worse_whatever_the_order() -> None:
    polite = support_desk_constitution().principles[1]
    good = " Hello, thank you for writing. Have a nice day."
    others = (f"{good} You are an idiot. Have a nice day.", good[:30], good + good)
    questions = [JudgeQuestion(PROMPT, good, other, polite) for other in others]
    first, second, third = judge_both_orders(RuleJudge(), questions)
    assert first.forward == pytest.approx(1 / (1 + np.exp(-2))) and first.backward == pytest.approx(1 / (1 + np.exp(2)))
    assert second.margin > 0 and third.margin == 0
