"""Texts cut after their first words: prompts to continue, and how their authors did."""

from collections.abc import Iterable

from textrl_env.errors import require_at_least


def continuation_rows(
    texts: Iterable[str], *, n_words: int, min_words: int = 3, max_words: int | None = None
) -> list[dict[str, str]]:
    """Rows `prompt` (the first `n_words` words) and `completion` (the rest, with the space before it).

    Args:
        n_words: length of the prompt, at least 1.
        min_words: texts with fewer words than this after the prompt are left out; at least 1.
        max_words: so are texts with more words than this after it; None leaves out none.
    """
    require_at_least(1, n_words=n_words, min_words=min_words)
    rows = []
    for text in texts:
        words = text.split()
        n_rest = len(words) - n_words
        if n_rest >= min_words and (max_words is None or n_rest <= max_words):
            rows.append({"prompt": " ".join(words[:n_words]), "completion": " " + " ".join(words[n_words:])})
    return rows
