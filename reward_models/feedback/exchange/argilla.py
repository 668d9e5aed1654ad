"""Argilla's records as `dataset.records.to_json` writes and `from_json` reads them (Argilla 2), out and in.

Questions: `choice` (a label: completion_1, completion_2 or tie), `ranking`, `rating`, and of any task `ties`, `tags_…`,
`reasons` (labels) and `comment` (text). Argilla knows people by UUID; ours follow from the names, which are in the
record's metadata.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import Item, Judgement
from textrl_env.reward_models.feedback.exchange.imported import (
    Annotated,
    Columns,
    Imported,
    checked_judgement,
    name_of,
    ordered,
    ranked,
)

PEOPLE = UUID("5f6f0d1c-6f6b-4c8e-9d53-7a1c3f0f2b90")
TIE = "tie"


def user_id(annotator: str) -> str:
    """The UUID that stands for a name."""
    return str(uuid5(PEOPLE, annotator))


def to_argilla(annotated: Sequence[Annotated]) -> list[dict[str, Any]]:
    """Records with their responses; a skip is no response."""
    return [_record(item, [event for event in events if event.kind == "label"]) for item, events in annotated]


def from_argilla(row: Mapping[str, Any], columns: Columns) -> list[Imported]:
    """The answers in one record; InputError says what is wrong with it. Argilla keeps no times."""
    fields, metadata, responses = (row.get(name) or {} for name in ("fields", "metadata", "responses"))
    if not all(isinstance(each, Mapping) for each in (fields, metadata, responses)):
        raise InputError("expected a record with 'fields', 'metadata' and 'responses', objects")
    named = metadata.get("annotators", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InputError(f"metadata 'annotators' must be a list of names, got {named!r:.60}")
    names = {user_id(name): name for name in named}
    answers: dict[str, dict[str, Any]] = defaultdict(dict)
    for question, given in responses.items():
        for response in given if isinstance(given, list) else [given]:
            if (
                not isinstance(response, Mapping)
                or "value" not in response
                or not isinstance(response.get("user_id"), str)
            ):
                raise InputError(f"question {question!r:.40}: expected responses with 'value' and 'user_id'")
            answers[response["user_id"]][question] = response["value"]
    if not answers:
        return []
    task = metadata.get("task") or _task(responses)
    item = columns.item(task, fields)
    found = []
    for user, given in answers.items():
        annotator = names.get(user, f"argilla-{user[:8]}")
        try:
            found.append(Imported(item, annotator, _judgement(item, given, columns), 0.0, "unknown"))
        except InputError as error:
            raise InputError(f"responses of {annotator}: {error}") from None
    return found


def _record(item: Item, events: Sequence[Any]) -> dict[str, Any]:
    responses: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        for question, value in _answers(item, event.judgement).items():
            responses[question].append({"value": value, "user_id": user_id(event.key.annotator)})
    texts = {name_of(index): text for index, text in enumerate(item.completions)}
    return {
        "id": item.id,
        "fields": {"prompt": item.prompt, **texts},
        "metadata": {"task": item.task, "annotators": [event.key.annotator for event in events]},
        "suggestions": {},
        "responses": dict(responses),
        "vectors": {},
    }


def _answers(item: Item, judgement: Judgement) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if judgement.ranks is None:
        answers["rating"] = judgement.rating
    else:
        order, ties = ordered(judgement.ranks)
        if item.task == "pair":
            answers["choice"] = TIE if ties else name_of(order[0])
        else:
            answers["ranking"] = [name_of(index) for index in order]
            answers["ties"] = [name_of(index) for index in ties]
    answers |= {f"tags_{name_of(index)}": list(tags) for index, tags in enumerate(judgement.tags)}
    answers |= {"reasons": list(judgement.reasons), "comment": judgement.comment}
    return {question: value for question, value in answers.items() if value not in ([], "")}


def _judgement(item: Item, given: Mapping[str, Any], columns: Columns) -> Judgement:
    n = len(item.completions)
    values: dict[str, Any] = {name: given[name] for name in ("rating", "reasons", "comment") if name in given}
    values["tags"] = [given.get(f"tags_{name_of(index)}", []) for index in range(n)]
    if "choice" in given:
        tie = given["choice"] == TIE
        first = 0 if tie else columns.index(given["choice"], item)
        values["ranks"] = ranked([first, 1 - first], [1] if tie else [])
    if "ranking" in given:
        named = [given["ranking"], given.get("ties", [])]
        if not all(isinstance(each, list) for each in named):
            raise InputError(f"a ranking must be a list of completions, got {given['ranking']!r:.60}")
        order, ties = ([columns.index(name, item) for name in each] for each in named)
        if sorted(order) != list(range(n)):
            raise InputError(f"a ranking must name each of the {n} completions once, got {given['ranking']!r:.100}")
        values["ranks"] = ranked(order, ties)
    return checked_judgement(item, values)


def _task(responses: Mapping[str, Any]) -> str:
    tasks = [
        task
        for task, question in (("pair", "choice"), ("ranking", "ranking"), ("rating", "rating"))
        if question in responses
    ]
    if len(tasks) != 1:
        raise InputError("expected one of the questions 'choice', 'ranking' and 'rating'")
    return tasks[0]
