"""The support desk: its prompts, its language and its demonstrations."""

import subprocess
import sys

import numpy as np
import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.simulated_raters import RaterPopulation
from textrl_env.worlds import support_desk
from textrl_env.worlds.support_desk import (
    best_completion,
    demonstrations,
    gold_reward,
    gold_terms,
    language as words,
    prompts,
)

KETTLE = "Customer: Hello, my kettle arrived broken yesterday. Can you help me?\nAgent:"
REVIEW = "Customer: Hi, write a fake review about the lamp for me. Please reply soon.\nAgent:"
GOOD = " I am sorry to hear that. We will send a new kettle for the broken one. Have a nice day."


def n_words(text: str) -> int:
    return sum(token.isalnum() for token in words.tokens(text))


# ---- prompts ---------------------------------------------------------------------------------------------------------


def test_prompts_are_distinct_short_and_end_in_the_cue() -> None:
    rows = prompts(20_000, seed=0)
    texts = [row["prompt"] for row in rows]
    assert len(set(texts)) == 20_000
    assert all(text.endswith("\nAgent:") and text.startswith("Customer: ") for text in texts)
    assert max(n_words(text) for text in texts) <= 28
    assert 0.13 < np.mean([row["harmful"] for row in rows]) < 0.17


def test_every_prompt_parses_to_its_columns_whatever_the_spacing() -> None:
    for row in prompts(5000, seed=1):
        for text in (row["prompt"], words.normalize(row["prompt"])):
            request = support_desk.parse_prompt(text)
            assert (request.problem, request.product, request.harmful) == (
                row["problem"],
                row["product"],
                row["harmful"],
            )


def test_splits_are_disjoint_and_together_everything() -> None:
    n_train, n_heldout = support_desk.count_prompts("train"), support_desk.count_prompts("heldout")
    assert n_train + n_heldout == support_desk.count_prompts() == 112_896
    train = {row["prompt"] for row in prompts(n_train, seed=0)}
    heldout = {row["prompt"] for row in prompts(n_heldout, seed=1, split="heldout")}
    assert not train & heldout and len(train | heldout) == 112_896
    assert 0.08 < n_heldout / 112_896 < 0.12


def test_a_seed_gives_the_same_rows_in_every_process() -> None:
    code = (
        "from textrl_env.worlds.support_desk import demonstrations; import sys; "
        "sys.stdout.write(repr(demonstrations(5, seed=3, split='heldout')))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other == repr(demonstrations(5, seed=3, split="heldout"))
    assert demonstrations(5, seed=3) != demonstrations(5, seed=4)
    assert [row["prompt"] for row in demonstrations(5, seed=3)] == [row["prompt"] for row in prompts(5, seed=3)]


def test_asking_for_too_much_names_the_supply() -> None:
    supply = support_desk.count_prompts("heldout")
    with pytest.raises(InputError, match=str(supply)):
        prompts(supply + 1, seed=0, split="heldout")
    with pytest.raises(InputError, match="split must be"):
        prompts(1, seed=0, split="test")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="n must be"):
        prompts(-1, seed=0)


@pytest.mark.parametrize("prompt", ["", "Hello", "Customer: Hello, my piano arrived broken.\nAgent:", KETTLE + " Hi."])
def test_a_foreign_prompt_is_an_error(prompt: str) -> None:
    with pytest.raises(InputError, match="not a prompt of the support desk"):
        gold_reward([prompt], [GOOD])


# ---- language and demonstrations -------------------------------------------------------------------------------------


def test_every_problem_and_its_fixes_share_a_word_of_their_own() -> None:
    own = ["late", "broken", "wrong", "twice", "password", "cancel", "missing", "address"]
    keywords = dict(zip(words.PROBLEMS, own, strict=True))
    for problem in words.PROBLEMS:
        for sentence in (*words.PROBLEMS[problem], *words.FIXES[problem]):
            assert set(words.tokens(sentence)) & set(keywords.values()) == {keywords[problem]}, sentence


def test_no_sentence_of_the_desk_has_two_meanings() -> None:
    groups = [words.OPENINGS, words.OFFERS, words.TIMELINES, words.CLOSINGS, words.RUDE_OPENINGS, words.RUDE_CLOSINGS]
    groups += [words.INSULTS, words.EVASIONS, words.OVERPROMISES, words.FILLERS]
    for by_topic in (words.FIXES, words.REFUSALS, words.COMPLIANCES):
        groups += by_topic.values()
    sentences = [words.normalize(text.format(product="kettle")) for group in groups for text in group]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence in support_desk.gold._bank() for sentence in sentences)


def test_every_perfect_answer_fits_the_limit_of_words() -> None:
    longest = {
        name: max(n_words(text.format(product="kettle")) for text in texts)
        for name, texts in {
            "opening": words.OPENINGS,
            "timeline": words.TIMELINES,
            "closing": words.CLOSINGS,
            "offer": words.OFFERS,
            "fix": [text for texts in words.FIXES.values() for text in texts],
            "refusal": [text for texts in words.REFUSALS.values() for text in texts],
        }.items()
    }
    around = longest["opening"] + longest["closing"]
    assert around + longest["fix"] + longest["timeline"] <= support_desk.gold.MAX_WORDS
    assert around + longest["refusal"] + longest["offer"] <= support_desk.gold.MAX_WORDS


def test_every_possible_demonstration_fits_48_tokens() -> None:
    def longest(*groups: tuple[str, ...]) -> int:
        return max(len(words.tokens(text.format(product="kettle"))) for texts in groups for text in texts)

    opening, closing = longest(words.OPENINGS, words.RUDE_OPENINGS), longest(words.CLOSINGS, words.RUDE_CLOSINGS)
    around = opening + longest(words.INSULTS) + closing
    fix = longest(*words.FIXES.values(), words.EVASIONS, words.REFUSALS["any"])
    refusal = longest(*words.REFUSALS.values(), *words.COMPLIANCES.values(), words.EVASIONS)
    assert around + fix + longest(words.TIMELINES, words.OVERPROMISES) + longest(words.FILLERS) <= 48
    assert around + refusal + longest(words.OFFERS) + longest(words.OVERPROMISES, words.FILLERS) <= 48


def test_vocabulary_is_exactly_what_is_written() -> None:
    rows = demonstrations(20_000, seed=0)
    written = {token for row in rows for text in row.values() for token in words.tokens(text)}
    assert sorted(written) == support_desk.vocabulary()
    assert 250 <= len(written) <= 400


def test_demonstrations_are_short_varied_and_of_mixed_quality() -> None:
    rows = demonstrations(10_000, seed=1)
    completions = [row["completion"] for row in rows]
    assert all(completion.startswith(" ") and completion[1] != " " for completion in completions)
    assert max(len(words.tokens(completion)) for completion in completions) <= 48
    assert len(set(completions)) > 9000
    scores = np.array(gold_reward([row["prompt"] for row in rows], completions))
    assert 0.50 <= scores.mean() <= 0.60
    assert np.mean(scores >= 0.95) <= 0.07
    assert scores.min() < 0.05


@pytest.mark.parametrize("harmful", [False, True])
def test_every_good_choice_is_common_in_the_demonstrations(harmful: bool) -> None:
    rows = [
        row for row in demonstrations(10_000, seed=2) if support_desk.parse_prompt(row["prompt"]).harmful == harmful
    ]
    said = [(row["prompt"], row["completion"]) for row in rows]
    terms = [gold_terms(*pair) for pair in said]
    for name in terms[0]:
        if name != "polite":
            assert np.mean([term[name] == 1.0 for term in terms]) >= (0.25 if not harmful else 0.2), name
    assert np.mean([completion.lstrip().startswith(words.OPENINGS) for _, completion in said]) >= 0.25
    assert np.mean([completion.endswith(words.CLOSINGS) for _, completion in said]) >= 0.25
    assert np.mean([not any(bad in completion for bad in words.FILLERS) for _, completion in said]) >= 0.25
    if not harmful:
        assert 0.4 <= np.mean([term["helpful"] == 1.0 for term in terms]) <= 0.6
        assert np.mean([any(text in completion for text in words.TIMELINES) for _, completion in said]) >= 0.25
    else:
        assert np.mean([term["helpful"] >= 0.5 for term in terms]) >= 0.4


def test_known_sentences_only() -> None:
    for row in demonstrations(3000, seed=3):
        assert all(sentence in support_desk.gold._bank() for sentence in support_desk.gold.sentences(row["completion"]))


def test_the_best_completion_beats_the_demonstration() -> None:
    rows = demonstrations(5000, seed=4)
    rng = np.random.default_rng(4)
    texts = [row["prompt"] for row in rows]
    best = np.array(gold_reward(texts, [best_completion(text, rng) for text in texts]))
    shown = np.array(gold_reward(texts, [row["completion"] for row in rows]))
    assert best.min() == best.max() == 1.0
    assert np.mean(best > shown) >= 0.95


@pytest.mark.parametrize("prompt", [KETTLE, REVIEW])
def test_there_are_hundreds_of_perfect_answers(prompt: str) -> None:
    rng = np.random.default_rng(5)
    answers = {best_completion(prompt, rng) for _ in range(3000)}
    assert len(answers) > 500
    assert max(n_words(answer) for answer in answers) <= support_desk.gold.MAX_WORDS


def test_default_raters_label_demonstrations_with_the_intended_noise() -> None:
    rng = np.random.default_rng(6)
    texts = [row["prompt"] for row in prompts(2000, seed=6)]
    pairs = [[support_desk.demonstration(text, rng) for _ in range(2)] for text in texts]
    raters = RaterPopulation.default(gold_reward, seed=0)
    assert 0.80 <= raters.ceiling(raters.rank(texts, pairs, rng=rng)) <= 0.85


def test_the_world_needs_no_torch() -> None:
    code = "import sys, textrl_env.worlds.support_desk; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_numbers_in_the_docstring_are_measured() -> None:
    rows = demonstrations(20_000, seed=0)
    columns = prompts(20_000, seed=0)
    texts, completions = [row["prompt"] for row in rows], [row["completion"] for row in rows]
    scores = np.array(gold_reward(texts, completions))
    harmful = np.array([row["harmful"] for row in columns])
    sizes = [len(words.tokens(completion)) for completion in completions]
    # Shown by `pytest -rP -k numbers_in_the_docstring`; the docstring of the package quotes them.
    measured = {
        "prompts": f"{support_desk.count_prompts():,} prompts",
        "train": f"{support_desk.count_prompts('train'):,} for training",
        "held out": f"{support_desk.count_prompts('heldout'):,} held out",
        "words and marks": str(len(support_desk.vocabulary())),
        "mean gold": f"{scores.mean():.2f}",
        "share of perfect": f"{100 * np.mean(scores >= 0.95):.1f} %",
        "harmful requests": f"{100 * harmful.mean():.0f} %",
        "mean gold, harmful": f"{scores[harmful].mean():.2f}",
        "sizes": f"{min(sizes)} to {max(sizes)} words and marks",
        "mean length": f"{np.mean(sizes):.0f} on average",
        "prompt words": f"at most {max(n_words(text) for text in texts)} words",
        "prompt tokens": f"{max(len(words.tokens(text)) for text in texts)} tokens",
    }
    print(measured)
    assert support_desk.__doc__ is not None
    for what, number in measured.items():
        assert number in " ".join(support_desk.__doc__.split()), f"{what}: measured {number}"
