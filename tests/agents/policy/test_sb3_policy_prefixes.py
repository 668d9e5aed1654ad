"""Texts that begin other texts: nothing is lost, nothing is sent twice."""

import torch
from hypothesis import given, strategies as st

from textrl_env.agents.policy.sb3_policy import share_prefixes

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12)


@given(texts=TEXTS, padding=st.integers(0, 3), junk=st.integers(0, 2))
def test_every_state_is_read_where_it_stands_and_no_kept_text_begins_another(
    texts: list[list[int]], padding: int, junk: int
) -> None:
    width = max(map(len, texts)) + padding
    ids = torch.tensor([[junk] * (width - len(text)) + text for text in texts])
    mask = torch.tensor([[False] * (width - len(text)) + [True] * len(text) for text in texts])
    shared = share_prefixes(ids, mask)
    kept = [row[there].tolist() for row, there in zip(shared.ids, shared.mask, strict=True)]
    places = shared.is_state.nonzero().tolist()
    read = [kept[row][: column + 1] for row, column in places]
    assert [read[index] for index in shared.order.tolist()] == texts
    begins = {tuple(text[:end]) for text in texts for end in range(1, len(text))}
    assert sorted(map(tuple, kept)) == sorted({tuple(text) for text in texts} - begins)
    assert len(places) == len({tuple(text) for text in texts})


def test_the_states_of_one_completion_are_one_row() -> None:
    text = torch.tensor([5, 3, 3, 1, 2])
    ids = torch.stack([torch.cat([torch.zeros(5 - end, dtype=torch.long), text[:end]]) for end in (4, 2, 5, 3)])
    mask = torch.tensor([[column >= 5 - end for column in range(5)] for end in (4, 2, 5, 3)])
    shared = share_prefixes(ids, mask)
    assert shared.ids.tolist() == [text.tolist()]
    assert shared.order.tolist() == [2, 0, 3, 1]
