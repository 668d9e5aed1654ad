"""Judgements in rows, one a row: pairs, rankings and ratings in the columns that training reads, and whose they are."""

from collections.abc import Mapping
from typing import Any

from textrl_env.data import Row
from textrl_env.data.columns import is_given, read_number
from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.exchange.imported_answers import ImportedAnswer, TextColumns, make_judgement
from textrl_env.reward_models.feedback.store import Item, rank_groups
from textrl_env.reward_models.preferences import Preference, read_preference
from textrl_env.reward_models.training_rows import read_rated_completion


def from_judged_row(row: Mapping[str, Any], columns: TextColumns) -> list[ImportedAnswer]:
    """Reads the answer in a row; InputError says what is wrong with it.

    Args:
        row: with `annotator` and the columns of `read_preferences` or of ratings; optionally `created_at`, `seconds`
            and `comment`. A ranking may name the columns of its texts: `[{"value": "completion_2", "rank": 1}, …]`.
        columns: names of the prompt and of such columns.
    """
    annotator = row.get("annotator")
    if not is_given(annotator):
        raise InputError(f"no 'annotator' says who judged (found: {', '.join(map(repr, row))})")
    question = Row("", {**row, "prompt": row.get(columns.prompt)})
    if is_given(row.get("rating")):
        rating = read_rated_completion(question)
        item = Item.from_values("rating", _plain_prompt(rating.prompt), [rating.completion])
        values: dict[str, Any] = {"rating": int(rating.rating) if rating.rating.is_integer() else rating.rating}
    else:
        preference = read_preference(question)
        item = _make_item(preference, row, columns)
        ranks = rank_groups(_group_ties(preference))
        values = {"ranks": [ranks[preference.ranking.index(text)] for text in item.completions]}
    judgement = make_judgement(item, values | {"comment": row.get("comment") or None})
    created_at = row.get("created_at")
    seconds = read_number(row, "seconds") or 0.0
    time = str(created_at) if is_given(created_at) else "unknown"
    return [ImportedAnswer(item, str(annotator), judgement, seconds, time)]


def _plain_prompt(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]


def _make_item(preference: Preference, row: Mapping[str, Any], columns: TextColumns) -> Item:
    """Makes the question that was judged, the same whatever the answer."""
    names = columns.names_in(row)
    texts = [row[name] for name in names]
    if sorted(map(repr, texts)) != sorted(map(repr, preference.ranking)):
        texts = sorted(preference.ranking)
    task = "pair" if len(texts) == 2 else "ranking"
    return Item.from_values(task, _plain_prompt(preference.prompt), texts)


def _group_ties(preference: Preference) -> list[list[int]]:
    """Groups the places of a ranking by ties of neighbours."""
    groups = [[0]]
    n = len(preference.ranking)
    # Probabilities of 1st and 2nd, 1st and 3rd, ...: those of place i and the next are n - 1 - i apart.
    at = 0
    for place in range(1, n):
        if preference.pair_probabilities[at] == 0.5:
            groups[-1].append(place)
        else:
            groups.append([place])
        at += n - place
    return groups
