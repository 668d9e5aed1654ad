"""Label Studio's JSON, out and in.

A pair is a `Pairwise` region, a ranking a `Ranker` region, a rating a `Rating` region; tags, reasons and ties are
`Choices`, the comment is a `TextArea`. `labeling_config` makes the project that shows them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.desk import N_POINTS, REASONS, TAGS, Event, Item, Judgement, Task
from textrl_env.reward_models.feedback.exchange.imported import (
    Annotated,
    Columns,
    Imported,
    checked_judgement,
    name_of,
    ordered,
    ranked,
)

SIDES = ("left", "right")
KINDS = {"pair": "pairwise", "ranking": "ranker", "rating": "rating"}


def to_label_studio(annotated: Sequence[Annotated]) -> list[dict[str, Any]]:
    """Tasks with their annotations, to be imported into a project; `annotator` is an extra key of an annotation."""
    return [
        {"data": _data(item), "annotations": [_annotation(item, event) for event in events]}
        for item, events in annotated
    ]


def labeling_config(task: Task, k: int) -> str:
    """The labelling interface of a project for items of `task` with `k` completions."""
    names = [name_of(index) for index in range(k)]
    texts = "".join(
        f'\n  <Text name="{name}" value="${name}"/>{_choices(f"tags_{name}", name, TAGS)}' for name in names
    )
    match task:
        case "pair":
            control = f'\n  <Pairwise name="choice" toName="{",".join(names)}"/>' + _choices(
                "ties", "prompt", names[1:]
            )
        case "ranking":
            control = '\n  <List name="list" value="$list"/>\n  <Ranker name="rank" toName="list"/>'
            control += _choices("ties", "prompt", names[1:])
        case "rating":
            control = f'\n  <Rating name="rating" toName="{names[0]}" maxRating="{N_POINTS}"/>'
    end = _choices("reasons", "prompt", REASONS) + '\n  <TextArea name="comment" toName="prompt"/>'
    return f'<View>\n  <Text name="prompt" value="$prompt"/>{texts}{control}{end}\n</View>\n'


def from_label_studio(row: Mapping[str, Any], columns: Columns) -> list[Imported]:
    """The answers in one task of an export; InputError says what is wrong with it.

    Regions are told apart by their type, so that other projects' names do; of choices those count that
    `labeling_config` names.
    """
    data, annotations = row.get("data"), row.get("annotations", [])
    if not isinstance(data, Mapping) or not isinstance(annotations, list):
        raise InputError("expected a task with 'data', an object, and 'annotations', a list")
    found = []
    for number, annotation in enumerate(annotations, start=1):
        regions = annotation.get("result") if isinstance(annotation, Mapping) else None
        if not isinstance(regions, list) or not all(isinstance(region, Mapping) for region in regions):
            raise InputError(f"annotation {number}: expected an object with 'result', a list of regions")
        try:
            found.append(_imported(data, annotation, regions, columns))
        except InputError as error:
            raise InputError(f"annotation {number}: {error}") from None
    return found


def _data(item: Item) -> dict[str, Any]:
    texts = {name_of(index): text for index, text in enumerate(item.completions)}
    data = {"prompt": item.prompt, "task": item.task, "item": item.id, **texts}
    if item.task == "ranking":
        data["list"] = [{"id": name, "title": name, "body": text} for name, text in texts.items()]
    return data


def _annotation(item: Item, event: Event) -> dict[str, Any]:
    return {
        "result": _regions(item.task, event.judgement) if event.judgement.answered else [],
        "was_cancelled": event.kind == "skip",
        "lead_time": event.seconds,
        "created_at": event.created_at,
        "annotator": event.key.annotator,
    }


def _regions(task: Task, judgement: Judgement) -> list[dict[str, Any]]:
    regions: list[dict[str, Any]] = []

    def add(kind: str, name: str, to: str, value: Any) -> None:
        region = {"id": f"r{len(regions)}", "from_name": name, "to_name": to, "type": kind, "value": value}
        regions.append(region)

    if judgement.ranks is not None:
        order, ties = ordered(judgement.ranks)
        if task == "ranking":
            add("ranker", "rank", "list", {"ranker": {"rank": [name_of(index) for index in order]}})
        elif not ties:
            # Label Studio wants a Pairwise region's two names alike.
            add("pairwise", "choice", "choice", {"selected": SIDES[order[0]]})
        if ties:
            add("choices", "ties", "prompt", {"choices": [name_of(index) for index in ties]})
    else:
        add("rating", "rating", name_of(0), {"rating": judgement.rating})
    for index, tags in enumerate(judgement.tags):
        if tags:
            add("choices", f"tags_{name_of(index)}", name_of(index), {"choices": list(tags)})
    if judgement.reasons:
        add("choices", "reasons", "prompt", {"choices": list(judgement.reasons)})
    if judgement.comment:
        add("textarea", "comment", "prompt", {"text": [judgement.comment]})
    return regions


def _choices(name: str, to: str, values: Sequence[str]) -> str:
    inside = "".join(f'<Choice value="{value}"/>' for value in values)
    return f'\n  <Choices name="{name}" toName="{to}" choice="multiple" required="false">{inside}</Choices>'


def _imported(
    data: Mapping[str, Any], annotation: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], columns: Columns
) -> Imported:
    task = data.get("task") or _task(regions)
    item = columns.item(task, data)
    values: dict[str, Any] = {"tags": [[] for _ in item.completions]}
    order: list[int] | None = None
    ties: list[int] = []
    for region in regions:
        kind, name, value = region.get("type"), region.get("from_name"), region.get("value")
        if not isinstance(value, Mapping):
            raise InputError(f"a region of type {kind!r:.40} has no 'value' object")
        if kind == "pairwise":
            if value.get("selected") not in SIDES:
                raise InputError(f"'selected' must be left or right, got {value.get('selected')!r:.60}")
            order = [0, 1] if value["selected"] == "left" else [1, 0]
        elif kind == "ranker":
            order = [columns.index(each, item) for each in _texts(_only(value.get("ranker")))]
        elif kind == "rating":
            values["rating"] = value.get("rating")
        elif kind == "choices" and name == "ties":
            ties = [columns.index(each, item) for each in _texts(value.get("choices"))]
        elif kind == "choices" and name == "reasons":
            values["reasons"] = _texts(value.get("choices"))
        elif kind == "choices" and isinstance(name, str) and name.startswith("tags_"):
            values["tags"][columns.index(name.removeprefix("tags_"), item)] = _texts(value.get("choices"))
        elif kind == "textarea" and name == "comment":
            values["comment"] = "\n".join(_texts(value.get("text")))
    if order is None and ties and item.task == "pair":
        order = [0, 1]
    if order is not None:
        values["ranks"] = ranked(order, ties) if sorted(order) == list(range(len(item.completions))) else order
    seconds = annotation.get("lead_time") or 0.0
    return Imported(
        item, _annotator(annotation), checked_judgement(item, values), seconds,
        annotation.get("created_at") or "unknown",
    )  # fmt: skip


def _task(regions: Sequence[Mapping[str, Any]]) -> str:
    kinds = {region.get("type") for region in regions}
    tasks = [task for task, kind in KINDS.items() if kind in kinds]
    if len(tasks) != 1:
        raise InputError(f"expected one kind of region out of {', '.join(KINDS.values())}, got {len(tasks)}")
    return tasks[0]


def _annotator(annotation: Mapping[str, Any]) -> Any:
    if "annotator" in annotation:
        return annotation["annotator"]
    person = annotation.get("completed_by")
    if isinstance(person, Mapping):
        person = person.get("email") or person.get("id")
    return person if isinstance(person, str) else f"label-studio-{person}"


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InputError(f"expected a list of texts, got {value!r:.60}")
    return value


def _only(value: Any) -> Any:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InputError(f"expected one ranked list, got {value!r:.60}")
    return next(iter(value.values()))
