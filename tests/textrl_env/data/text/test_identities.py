"""Two identities for every kind of tokenizer and any text, and by ways that share nothing with the library.

ids(prompt) + ids(completion) are the ids the policy saw; text(prompt) + text(completion) is what a reward sees.
"""

import re
import warnings
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from textrl_env import TextGenEnv
from textrl_env.data.text import decode_completion, encode_completion, encode_pair, encode_prompt
from textrl_env.data.text.display import token_texts

PIECES = re.split(
    r"\|",
    "close| at five|we| |  |\t|\n|\n\n|\r|\x00|\x1b[0m|\x7f|\xa0|\u2028|\ufeff|a|A|.| .|'s| n't|1999|"
    "\xe9|e\u0301|\u4f60\u597d|\u05e9\u05dc\u05d5\u05dd|\u202e|\U0001f600|\U0001f469\u200d\U0001f467|\ufffd|\ufb01|\u0130|\ufdd0|\ufdd1|"
    "<|>|<eo|s>|</think|[|unk|<unk>",
)


@st.composite
def cases(draw: Any, kinds: dict[str, Any]) -> tuple[Any, str, str, list[int]]:
    """A tokenizer, the texts of a prompt and a completion, and ids as a policy may draw them."""
    kind = kinds[draw(st.sampled_from(sorted(kinds)))]
    # Without the sign that stands for a space in some vocabularies: it comes back as a space.
    letters = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=3)
    texts = st.lists(st.sampled_from([*PIECES, *kind.specials]) | letters, max_size=5).map("".join)
    ids = draw(st.lists(st.integers(0, len(kind.tokenizer) - 1), max_size=8))
    return kind, draw(texts), draw(texts), ids


class Witness:
    """An environment of a tokenizer whose reward function keeps what it sees."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.views = tokenizer, {}
        self.env = TextGenEnv(["a"], self.reward, tokenizer, max_new_tokens=200, max_prompt_tokens=300)

    def reward(
        self, prompts: list[Any], completions: list[Any], raw_completions: list[str], **columns: Any
    ) -> list[float]:
        self.views = {name: values[0] for name, values in columns.items()} | {"raw_completions": raw_completions[0]}
        self.views |= {"prompt": prompts[0], "completion": completions[0]}
        return [0.0]

    def force(self, prompt: Any, completion_ids: list[int]) -> list[int]:
        """Steps through a completion's ids, the end token the last; returns all the ids that the policy saw."""
        observation, _ = self.env.reset(options={"prompt": prompt})
        for token in completion_ids:
            observation, _, terminated, _, _ = self.env.step(token)
        assert terminated
        ids: list[int] = observation["input_ids"][observation["attention_mask"] == 1].tolist()
        return ids


witness_of = cache(lambda kind: Witness(kind.tokenizer))


def without_ends(text: str, *, bos: str | None, eos: str) -> tuple[str, str]:
    """A prompt's text without a BOS in front, a completion's without the end behind: whoever wrote them."""
    start, body = text, text
    while bos and start.startswith(bos):
        start = start.removeprefix(bos)
    while body.endswith(eos):
        body = body.removesuffix(eos)
    return start, body


def squeeze(text: str) -> str:
    """A text whose broken characters are counted once: decoders differ in how many signs stand for them."""
    return re.sub("\ufffd+", "\ufffd", text)


def check_ids(kind: Any, prompt: str, completion: str) -> None:
    """Prompt and completion are encoded as an independent tokenizer does it, with one BOS and one end."""
    tokenizer, end = kind.tokenizer, kind.tokenizer.eos_token_id
    start, _ = without_ends(prompt, bos=tokenizer.bos_token, eos=tokenizer.eos_token)
    _, body = without_ends(completion, bos=None, eos=tokenizer.eos_token)
    prompt_ids, completion_ids = encode_prompt(tokenizer, prompt), encode_completion(tokenizer, completion)
    front = kind.front or ([tokenizer.bos_token_id] if start != prompt else [])
    controls = {tokenizer.convert_tokens_to_ids(text) for text in kind.specials} - {tokenizer.unk_token_id}
    assert prompt_ids[: len(front)] == front and completion_ids[-1] == end
    _, text = without_ends(prompt + completion, bos=None, eos=tokenizer.eos_token)
    whole, _ = without_ends(text, bos=tokenizer.bos_token, eos=tokenizer.eos_token)
    whole_front, whole_ids = encode_pair(tokenizer, "", prompt + completion)
    assert whole_front == (kind.front or ([tokenizer.bos_token_id] if whole != text else []))
    assert whole_ids[-1] == end
    for ids, expected in (
        (prompt_ids[len(front) :], kind.starts(start)),
        (completion_ids[:-1], kind.goes_on(body)),
        (whole_ids[:-1], kind.starts(whole)),
    ):
        assert not controls & set(ids)
        # A vocabulary may hold special tokens as words; then the text has to come out in other tokens.
        assert ids == expected or controls & set(expected)
    if prompt:
        assert encode_pair(tokenizer, prompt, completion) == (prompt_ids, completion_ids)


def check_texts(kind: Any, completion: str, ids: list[int]) -> None:
    """Texts of ids are those that their bytes say, and a text's ids give the text and the same ids again."""
    tokenizer, end = kind.tokenizer, kind.tokenizer.eos_token_id
    _, body = without_ends(completion, bos=None, eos=tokenizer.eos_token)
    completion_ids = encode_completion(tokenizer, completion)
    assert decode_completion(tokenizer, completion_ids) == body
    assert decode_completion(tokenizer, completion_ids, with_end=True) == body + tokenizer.eos_token
    assert encode_completion(tokenizer, decode_completion(tokenizer, completion_ids)) == completion_ids
    unended = ids[:-1] if ids[-1:] == [end] else ids
    assert squeeze(decode_completion(tokenizer, ids)) == squeeze(kind.slow_text(unended))
    assert squeeze(decode_completion(tokenizer, ids, with_end=True)) == squeeze(kind.slow_text(ids))
    for some_ids in (ids, completion_ids):
        texts = token_texts(tokenizer, some_ids)
        assert len(texts) == len(some_ids)
        assert squeeze("".join(texts)) == squeeze(kind.slow_text(some_ids))


def check_episode(kind: Any, prompt: str, completion: str, ids: list[int]) -> None:
    """The policy saw these ids, and the reward function saw their text."""
    witness, tokenizer, end = witness_of(kind), kind.tokenizer, kind.tokenizer.eos_token_id
    drawn = [*ids[: ids.index(end)], end] if end in ids else [*ids, end]
    for completion_ids in (encode_completion(tokenizer, completion), drawn):
        prompt_ids = encode_prompt(tokenizer, prompt)
        assert witness.force(prompt, completion_ids) == prompt_ids + completion_ids
        views = witness.views
        assert views["prompt"] == views["rendered_prompts"] == prompt
        assert (views["prompt_ids"], views["completion_ids"]) == (prompt_ids, completion_ids)
        assert views["completion"] == decode_completion(tokenizer, completion_ids)
        assert views["raw_completions"] == decode_completion(tokenizer, completion_ids, with_end=True)
        if kind.token_bytes is not None:
            assert squeeze(views["completion"]) == squeeze(kind.slow_text(completion_ids[:-1]))


def run_fuzz(kinds: Any, n: int) -> None:
    @settings(
        max_examples=n, derandomize=n < 10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(cases(kinds))
    def fuzz(case: tuple[Any, str, str, list[int]]) -> None:
        kind, prompt, completion, ids = case
        check_ids(kind, prompt, completion)
        if kind.token_bytes is not None:
            check_texts(kind, completion, ids)
        if prompt.strip() and encode_prompt(kind.tokenizer, prompt):
            check_episode(kind, prompt, completion, ids)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of special tokens' texts in prompts, which these are full of
        fuzz()


def test_both_identities_hold_for_any_text(kinds: dict[str, Any]) -> None:
    run_fuzz(kinds, 700)


@pytest.mark.slow
def test_both_identities_hold_for_ten_thousand_texts(kinds: dict[str, Any]) -> None:
    run_fuzz(kinds, 10_000)


@pytest.mark.parametrize("name", ["llama", "byte level"])
def test_the_tokenizer_alone_would_not_do(kinds: dict[str, Any], name: str) -> None:
    kind = kinds[name]
    texts = [" at five", "close", f"x{kind.tokenizer.eos_token}y"]
    assert any(kind.tokenizer.encode(text, add_special_tokens=False) != kind.goes_on(text) for text in texts)
    ids = [*kind.goes_on(" at"), kind.tokenizer.bos_token_id]
    assert kind.tokenizer.decode(ids, skip_special_tokens=True) != kind.slow_text(ids)
