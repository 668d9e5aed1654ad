"""Label Studio's JSON, out and in.

A pair is a `Pairwise` region, a ranking a `Ranker` region, a rating a `Rating` region; tags, reasons and ties are
`Choices`, the comment is a `TextArea`. `make_labeling_config` makes the project that shows them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from textrl_env.errors import InputError
from textrl_env.reward_models.feedback.exchange.imported_answers import (
    ImportedAnswer,
    LeftOut,
    TextColumns,
    completion_name,
    make_judgement,
    order_to_ranks,
    ranks_to_order,
)
from textrl_env.reward_models.feedback.store import Item, Judgement, LabelEvent, LabelTask

SIDES = ("left", "right")
REGION_TYPES = {"pair": "pairwise", "ranking": "ranker", "rating": "rating"}


def to_label_studio(items: Sequence[tuple[Item, Sequence[LabelEvent]]]) -> list[dict[str, Any]]:
    """Makes tasks with their annotations, to be imported into a project.

    Args:
        items: each with the events that answer it. `annotator` becomes an extra key of an annotation.
    """
    return [
        {"data": _task_data(item), "annotations": [_annotation(item, event) for event in events]}
        for item, events in items
    ]


def make_labeling_config(task: LabelTask, k: int) -> str:
    """Writes the XML of the labelling interface of a project for items of `task` with `k` completions."""
    names = [completion_name(index) for index in range(k)]
    texts = "".join(
        f'\n  <Text name="{name}" value="${name}"/>{_choices(f"tags_{name}", name, Judgement.TAGS)}' for name in names
    )
    match task:
        case "pair":
            control = f'\n  <Pairwise name="choice" toName="{",".join(names)}"/>'
            control += _choices("ties", "prompt", names[1:])
        case "ranking":
            control = '\n  <List name="list" value="$list"/>\n  <Ranker name="rank" toName="list"/>'
            control += _choices("ties", "prompt", names[1:])
        case "rating":
            control = f'\n  <Rating name="rating" toName="{names[0]}" maxRating="{Judgement.N_POINTS}"/>'
    end = _choices("reasons", "prompt", Judgement.REASONS) + '\n  <TextArea name="comment" toName="prompt"/>'
    return f'<View>\n  <Text name="prompt" value="$prompt"/>{texts}{control}{end}\n</View>\n'


def from_label_studio(
    row: Mapping[str, Any], columns: TextColumns, *, question: str = ""
) -> list[ImportedAnswer | LeftOut]:
    """Reads the answers in one task of an export; InputError says what is wrong with it.

    Regions are told apart by their type, so that other projects' names do; of choices those count that
    `make_labeling_config` names. An annotation that was cancelled is a skip, whatever its regions say; drafts and
    predictions are no answers.

    Args:
        row: the task.
        columns: names of its texts.
        question: name of the control (`from_name`) whose answers count, where a project asks several questions.
    """
    data, annotations = row.get("data"), row.get("annotations", [])
    if not isinstance(data, Mapping) or not isinstance(annotations, list):
        raise InputError("expected a task with 'data', an object, and 'annotations', a list")
    entries: list[ImportedAnswer | LeftOut] = []
    for number, annotation in enumerate(annotations, start=1):
        regions = annotation.get("result") if isinstance(annotation, Mapping) else None
        if not isinstance(regions, list) or not all(isinstance(region, Mapping) for region in regions):
            raise InputError(f"annotation {number}: expected an object with 'result', a list of regions")
        try:
            entries.append(_read_annotation(annotation, data, columns, question=question))
        except InputError as error:
            raise InputError(f"annotation {number}: {error}") from None
    for kind in ("drafts", "predictions"):
        entries += [LeftOut(kind.removesuffix("s"))] * (len(row[kind]) if isinstance(row.get(kind), list) else 0)
    return entries


def _read_annotation(
    annotation: Mapping[str, Any], data: Mapping[str, Any], columns: TextColumns, *, question: str
) -> ImportedAnswer | LeftOut:
    was_cancelled = annotation.get("was_cancelled", False)
    if not isinstance(was_cancelled, bool | None):
        raise InputError(f"'was_cancelled' must be true or false, got {was_cancelled!r:.60}")
    regions = annotation["result"]
    if question:
        regions = _select_regions(regions, question)
    if was_cancelled and not data.get("task") and not regions:
        return LeftOut("cancelled")
    item = columns.item(data.get("task") or _find_task(regions), data)
    # A skip has no answer, but for the places of its tags.
    reader = _RegionReader(item, columns)
    judgement = make_judgement(item, reader.read([] if was_cancelled else regions))
    seconds, created_at = annotation.get("lead_time") or 0.0, annotation.get("created_at") or "unknown"
    return ImportedAnswer(item, _find_annotator(annotation), judgement, seconds, created_at)


def _select_regions(regions: Sequence[Mapping[str, Any]], question: str) -> list[Mapping[str, Any]]:
    """Returns the answers to one question, and regions that are no answers."""
    types = REGION_TYPES.values()
    names = [region.get("from_name") for region in regions if region.get("type") in types]
    if names and question not in names:
        raise InputError(f"no answer is called {question!r:.60} (found: {', '.join(map(repr, names))})")
    return [region for region in regions if region.get("type") not in types or region.get("from_name") == question]


def _task_data(item: Item) -> dict[str, Any]:
    texts = {completion_name(index): text for index, text in enumerate(item.completions)}
    data = {"prompt": item.prompt, "task": item.task, "item": item.id, **texts}
    if item.task == "ranking":
        data["list"] = [{"id": name, "title": name, "body": text} for name, text in texts.items()]
    return data


def _annotation(item: Item, event: LabelEvent) -> dict[str, Any]:
    return {
        "result": _regions(item.task, event.judgement) if event.judgement.is_answer else [],
        "was_cancelled": event.kind == "skip",
        "lead_time": event.seconds,
        "created_at": event.created_at,
        "annotator": event.key.annotator,
    }


def _regions(task: LabelTask, judgement: Judgement) -> list[dict[str, Any]]:
    """Makes (type, from_name, to_name, value) of every region, and regions of these."""
    parts: list[tuple[str, str, str, Any]] = []
    if judgement.ranks is not None:
        order, ties = ranks_to_order(judgement.ranks)
        if task == "ranking":
            parts.append(("ranker", "rank", "list", {"ranker": {"rank": list(map(completion_name, order))}}))
        elif not ties:
            # Label Studio wants a Pairwise region's two names alike.
            parts.append(("pairwise", "choice", "choice", {"selected": SIDES[order[0]]}))
        if ties:
            parts.append(("choices", "ties", "prompt", {"choices": list(map(completion_name, ties))}))
    else:
        parts.append(("rating", "rating", completion_name(0), {"rating": judgement.rating}))
    for name, tags in zip(map(completion_name, range(len(judgement.tags))), judgement.tags, strict=True):
        if tags:
            parts.append(("choices", f"tags_{name}", name, {"choices": list(tags)}))
    if judgement.reasons:
        parts.append(("choices", "reasons", "prompt", {"choices": list(judgement.reasons)}))
    if judgement.comment:
        parts.append(("textarea", "comment", "prompt", {"text": [judgement.comment]}))
    return [
        {"id": f"r{number}", "from_name": source, "to_name": target, "type": type, "value": value}
        for number, (type, source, target, value) in enumerate(parts)
    ]


def _choices(name: str, to: str, values: Sequence[str]) -> str:
    inside = "".join(f'<Choice value="{value}"/>' for value in values)
    return f'\n  <Choices name="{name}" toName="{to}" choice="multiple" required="false">{inside}</Choices>'


class _RegionReader:
    """Reads the regions of one annotation into the values of a judgement."""

    def __init__(self, item: Item, columns: TextColumns) -> None:
        self._item, self._columns = item, columns
        self._values: dict[str, Any] = {"tags": [[] for _ in item.completions]}
        self._order: list[int] | None = None
        self._ties: list[int] = []
        self._sources: dict[str, Any] = {}

    def _require_single(self, target: str, name: Any) -> None:
        """Raises InputError where another region has set the same part of the judgement."""
        if target in self._sources:
            first = self._sources[target]
            hint = f"; choose one with question={first!r} or question={name!r}" if first != name else ""
            raise InputError(f"the regions {first!r:.60} and {name!r:.60} both say the {target}{hint}")
        self._sources[target] = name

    def read(self, regions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        for region in regions:
            type, name, value = region.get("type"), region.get("from_name"), region.get("value")
            if not isinstance(value, Mapping):
                raise InputError(f"a region of type {type!r:.40} has no 'value' object")
            if type in REGION_TYPES.values():
                self._require_single("answer", name)
                self._read_answer(type, value)
            elif type == "choices":
                self._read_choices(name, value)
            elif type == "textarea" and name == "comment":
                self._require_single("comment", name)
                self._values["comment"] = "\n".join(_check_texts(value.get("text")))
        order = self._order
        if order is None and self._ties and self._item.task == "pair":
            order = [0, 1]
        if order is not None:
            is_whole = sorted(order) == list(range(len(self._item.completions)))
            self._values["ranks"] = order_to_ranks(order, self._ties) if is_whole else order
        return self._values

    def _read_answer(self, type: Any, value: Mapping[str, Any]) -> None:
        if type == "pairwise":
            self._read_pair(value)
        elif type == "ranker":
            self._order = self._indices(_only_value(value.get("ranker")))
        else:
            self._values["rating"] = value.get("rating")

    def _read_pair(self, value: Mapping[str, Any]) -> None:
        if value.get("selected") not in SIDES:
            raise InputError(f"'selected' must be left or right, got {value.get('selected')!r:.60}")
        self._order = [0, 1] if value["selected"] == "left" else [1, 0]

    def _read_choices(self, name: Any, value: Mapping[str, Any]) -> None:
        if name in ("ties", "reasons") or (isinstance(name, str) and name.startswith("tags_")):
            self._require_single(name, name)
        if name == "ties":
            self._ties = self._indices(value.get("choices"))
        elif name == "reasons":
            self._values["reasons"] = _check_texts(value.get("choices"))
        elif isinstance(name, str) and name.startswith("tags_"):
            index = self._columns.index(name.removeprefix("tags_"), self._item)
            self._values["tags"][index] = _check_texts(value.get("choices"))

    def _indices(self, names: Any) -> list[int]:
        return [self._columns.index(name, self._item) for name in _check_texts(names)]


def _find_task(regions: Sequence[Mapping[str, Any]]) -> str:
    types = [region.get("type") for region in regions]
    tasks = [task for task, type in REGION_TYPES.items() if type in types]
    if len(tasks) != 1:
        raise InputError(f"expected one kind of region out of {', '.join(REGION_TYPES.values())}, got {len(tasks)}")
    return tasks[0]


def _find_annotator(annotation: Mapping[str, Any]) -> Any:
    if "annotator" in annotation:
        return annotation["annotator"]
    person = annotation.get("completed_by")
    if isinstance(person, Mapping):
        person = person.get("email") or person.get("id")
    return person if isinstance(person, str) else f"label-studio-{person}"


def _check_texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f"expected a list of texts, got {value!r:.60}")
    return value


def _only_value(value: Any) -> Any:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InputError(f"expected one ranked list, got {value!r:.60}")
    return next(iter(value.values()))
