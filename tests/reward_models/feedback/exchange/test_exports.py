"""Labels on their way out and in: our reader and TRL's columns, Label Studio; every bad row is named."""

import copy
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textrl_env.errors import InputError
from textrl_env.reward_models import read_preferences, write_preferences
from textrl_env.reward_models.feedback.desk import Desk
from textrl_env.reward_models.feedback.exchange import (
    TextColumns,
    export_events,
    export_preferences,
    export_rankings,
    export_ratings,
    from_label_studio,
    import_labels,
    make_labeling_config,
    to_label_studio,
)
from textrl_env.reward_models.feedback.exchange.imported_answers import (
    add_answers,
    group_by_item,
    order_to_ranks,
    ranks_to_order,
    read_answers,
)
from textrl_env.reward_models.feedback.store import Item, LabelLog, Store

Posted = Callable[..., dict[str, Any]]
CHAT = [{"role": "user", "content": "Hi"}]
ITEMS = [
    Item("pair", "P1", ("a", "b")),
    Item("pair", "P2", ("c", "")),
    Item("ranking", "P3", ("r", "s", "t")),
    Item("rating", "P4", ("bad",)),
    Item("rating", "P4", ("good",)),
    Item("rating", "P4", ("also good",)),
]
RATINGS = {"bad": 2, "good": 6, "also good": 6}
RANKS = {"P1": [2, 1], "P2": [1, 1], "P3": [2, 3, 1]}


@pytest.fixture
def desk(make_desk: Callable[..., Desk], posted: Posted) -> Desk:
    """Two people who agree on all; ada's labels have tags, reasons and a comment, ben skips the pair P1."""
    desk = make_desk(ITEMS, overlap=2)
    for name in ("ada", "ben"):
        while question := desk.question(name):
            item = question.item
            values: dict[str, Any] = {}
            if item.task == "rating":
                values["rating"] = RATINGS[item.completions[0]]
            elif name == "ben" and item.prompt == "P1":
                values["kind"] = "skip"
            else:
                values["ranks"] = [RANKS[str(item.prompt)][index] for index in question.order]
            if name == "ada":
                tags = [["unsafe", "too long"] if text == item.completions[-1] else [] for text in question.completions]
                values |= {"tags": tags, "reasons": ["clear"], "comment": 'said "no"\n日本語'}
            desk.save(desk.answer(name, posted(question, **values)))
    return desk


def test_preferences_say_who_preferred_what(desk: Desk) -> None:
    rows = export_preferences(desk.log, desk.store.items)
    found = sorted((row["annotator"], row["prompt"], row["chosen"], row["rejected"]) for row in rows)
    assert found == [
        ("ada", "P1", "b", "a"),
        ("ada", "P3", "r", "s"),
        ("ada", "P3", "t", "r"),
        ("ada", "P3", "t", "s"),
        ("ada", "P4", "also good", "bad"),
        ("ada", "P4", "good", "bad"),
        ("ben", "P3", "r", "s"),
        ("ben", "P3", "t", "r"),
        ("ben", "P3", "t", "s"),
        ("ben", "P4", "also good", "bad"),
        ("ben", "P4", "good", "bad"),
    ]
    assert len({frozenset(row) for row in rows}) == 1, "every row has the same columns"


def test_places_on_the_screen_go_with_the_texts(make_desk: Callable[..., Desk], posted: Posted) -> None:
    desk = make_desk([Item("ranking", f"p{i}", ("a", "b", "c")) for i in range(12)])
    while question := desk.question("ada"):
        # The second on the screen is best, then the third.
        desk.save(desk.answer("ada", posted(question, ranks=[3, 1, 2])))
    whole, pairs = (make(desk.log, desk.store.items) for make in (export_rankings, export_preferences))
    assert [row["shown"] for row in whole] == [[1, 2, 0]] * 12 and len({row["chosen"] for row in whole}) == 3
    place = {
        (row["prompt"], text): shown for row in whole for text, shown in zip(row["ranking"], row["shown"], strict=True)
    }
    for row in pairs:
        first = place[row["prompt"], row["chosen"]] < place[row["prompt"], row["rejected"]]
        assert row["shown"] == ([0, 1] if first else [1, 0])


def test_our_reader_reads_what_is_exported(desk: Desk, tmp_path: Path) -> None:
    kept = export_preferences(desk.log, desk.store.items, keep_ties=True)
    read = read_preferences(write_preferences(tmp_path / "p.jsonl", kept))
    assert [preference.ranking for preference in read] == [(row["chosen"], row["rejected"]) for row in kept]
    assert sorted({p.ranking for p in read if p.probability == 0.5}) in (
        [("c", ""), ("good", "also good")],
        [("also good", "good"), ("c", "")],
    )
    whole = export_rankings(desk.log, desk.store.items)
    read = read_preferences(write_preferences(tmp_path / "r.jsonl", whole))
    assert {preference.ranking for preference in read} == {("b", "a"), ("t", "r", "s")}


def test_a_tie_inside_a_ranking_is_an_even_label(
    make_desk: Callable[..., Desk], posted: Posted, tmp_path: Path
) -> None:
    desk = make_desk([Item("ranking", "p", ("a", "b", "c"))])
    question = desk.question("ada")
    assert question
    ranks = {"a": 2, "b": 1, "c": 2}
    desk.save(desk.answer("ada", posted(question, ranks=[ranks[text] for text in question.completions])))
    (read,) = read_preferences(write_preferences(tmp_path / "r.jsonl", export_rankings(desk.log, desk.store.items)))
    assert read.ranking == ("b", "a", "c") and read.pair_probabilities == (1.0, 1.0, 0.5)
    assert len(export_preferences(desk.log, desk.store.items)) == 2


def test_margins_are_there_where_all_rows_have_one(make_desk: Callable[..., Desk], posted: Posted) -> None:
    desk = make_desk(ITEMS[3:])
    while question := desk.question("ada"):
        desk.save(desk.answer("ada", posted(question, rating=RATINGS[question.item.completions[0]])))
    rows = export_preferences(desk.log, desk.store.items)
    assert [row["margin"] for row in rows] == [4 / 6, 4 / 6]
    assert sorted(row["rating"] for row in export_ratings(desk.log, desk.store.items)) == [2, 6, 6]


def test_conversations_have_trls_form(make_desk: Callable[..., Desk], posted: Posted) -> None:
    desk = make_desk([Item("pair", CHAT, ("a", "b"))])
    question = desk.question("ada")
    assert question
    desk.save(desk.answer("ada", posted(question)))
    (row,) = export_preferences(desk.log, desk.store.items)
    chosen = question.completions[0]
    assert row["prompt"] == CHAT and row["chosen"] == [{"role": "assistant", "content": chosen}]


def test_what_was_taken_back_or_repeated_is_in_the_log_only(make_desk: Callable[..., Desk], posted: Posted) -> None:
    desk = make_desk(20, repeats=0.2)
    while question := desk.question("ada"):
        desk.save(desk.answer("ada", posted(question)))
    desk.save(desk.undo("ada", "u"))
    labels, rows = desk.log.labels(), export_events(desk.log, desk.store.items)
    assert len(export_preferences(desk.log, desk.store.items)) == len(labels) <= 20 < len(rows)
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["kind"] for row in rows} == {"label", "undo"} and json.loads(json.dumps(rows))


def stands(store: Store) -> Any:
    """What people said about what: all that an exchange should keep."""
    log = LabelLog()
    log.apply(store.events())
    return {
        (key.annotator, store.items[key.item]): (event.kind, event.judgement)
        for current in log.current.values()
        for key, event in current.items()
    }


def read_export(path: Path) -> Any:
    return read_answers(path, lambda row: from_label_studio(row, TextColumns()), "data", on_bad_row="error")


def test_what_goes_out_comes_back(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(to_label_studio(group_by_item(desk.log, desk.store.items))))
    imported = read_export(path)
    other = Store(tmp_path / "other.db")
    assert add_answers(other, imported) == len(imported)
    before, after = stands(desk.store), stands(other)
    empty = {
        key: (kind, (judgement.tags or ((),) * len(key[1].completions))) for key, (kind, judgement) in before.items()
    }
    assert {key: (kind, judgement.tags) for key, (kind, judgement) in after.items()} == empty
    for name in ("ranks", "rating", "reasons", "comment"):
        assert {key: getattr(value[1], name) for key, value in after.items()} == {
            key: getattr(value[1], name) for key, value in before.items()
        }
    assert add_answers(other, imported) == 0, "imported again, nothing is new"


@pytest.mark.parametrize("junk", [None, 7, "x", [7], {"value": 7}, ["completion_9"], 1e400])
def test_junk_anywhere_in_an_export_is_named_with_its_row_and_never_a_crash(
    desk: Desk, tmp_path: Path, junk: Any
) -> None:
    rows = to_label_studio(group_by_item(desk.log, desk.store.items))[1:4]  # One of each task.
    n_refused = n_unnamed = 0
    for number, row in enumerate(rows, start=1):
        for place in places(row):
            broken = copy.deepcopy(rows)
            put(broken[number - 1], place, junk)
            path = tmp_path / "export.json"
            path.write_text(json.dumps(broken))
            try:
                read_export(path)
            except InputError as error:
                n_refused += f"export.json: item {number}: " in str(error)
                n_unnamed += f"export.json: item {number}: " not in str(error)
    assert n_refused > 10 and n_unnamed == 0


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, each in inside:
        found += places(each, (*path, key))
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def test_another_projects_label_studio_export_is_read_by_its_types(tmp_path: Path) -> None:
    region = {"from_name": "pw", "to_name": "pw", "type": "pairwise", "value": {"selected": "right"}}
    task = {
        "id": 7,
        "data": {"question": "Q?", "answer1": "x", "answer2": "y"},
        "annotations": [
            {"id": 1, "completed_by": 3, "result": [region], "lead_time": 4.5, "created_at": "2026-01-02T03:04:05.6Z"},
            {"id": 2, "completed_by": {"id": 4, "email": "b@c.org"}, "result": [region], "lead_time": None},
        ],
    }
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    columns = TextColumns("question", ("answer1", "answer2"))
    imported = read_answers(path, lambda row: from_label_studio(row, columns), "data", on_bad_row="error")
    assert [(found.annotator, found.judgement.ranks, found.seconds) for found in imported] == [
        ("label-studio-3", (2, 1), 4.5),
        ("b@c.org", (2, 1), 0.0),
    ]
    assert imported[0].item == Item("pair", "Q?", ("x", "y"))


def test_an_answer_given_here_is_not_replaced_by_an_import(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    tasks = to_label_studio(group_by_item(desk.log, desk.store.items))
    for task in tasks:
        for annotation in task["annotations"]:
            annotation["result"] = [
                {**region, "value": {"selected": "left"}} if region["type"] == "pairwise" else region
                for region in annotation["result"]
            ]
    path.write_text(json.dumps(tasks))
    imported = read_export(path)
    before = stands(desk.store)
    assert add_answers(desk.store, imported) == 0 and stands(desk.store) == before


@pytest.mark.parametrize(("task", "k"), [("pair", 2), ("ranking", 4), ("rating", 1)])
def test_the_labelling_interface_names_what_the_regions_name(desk: Desk, task: Any, k: int) -> None:
    interface = ElementTree.fromstring(make_labeling_config(task, k))
    names = {element.get("name") for element in interface.iter()} | {"choice"}
    values = {str(element.get("value"))[1:] for element in interface.iter() if element.get("value", "").startswith("$")}
    for each in to_label_studio(group_by_item(desk.log, desk.store.items)):
        if each["data"]["task"] == task:
            assert values >= {name for name in each["data"] if name not in ("task", "item")} - {f"completion_{k + 1}"}
            for annotation in each["annotations"]:
                assert {name for r in annotation["result"] for name in (r["from_name"], r["to_name"])} <= names


def test_an_order_with_ties_is_the_ranks_again() -> None:
    for ranks in ([1, 1], [2, 1], [2, 2, 1, 4], [1, 1, 1], [3, 1, 1, 4]):
        assert order_to_ranks(*ranks_to_order(ranks)) == ranks


def import_tasks(folder: Path, tasks: Any, **options: Any) -> list[tuple[str, Any]]:
    path = folder / "in.json"
    path.write_text(json.dumps(tasks))
    for store in folder.glob("in.db*"):
        store.unlink()
    import_labels(path, folder / "in.db", **options)
    store = Store(folder / "in.db")
    answers = [(name, judgement.ranks or judgement.rating) for (name, _), (_, judgement) in stands(store).items()]
    store.close()
    return sorted(answers, key=repr)


def pick(side: str, name: str = "pw") -> dict[str, Any]:
    return {"from_name": name, "to_name": name, "type": "pairwise", "value": {"selected": side}}


def test_what_is_no_submitted_answer_does_not_count(tmp_path: Path) -> None:
    task = {
        "data": {"prompt": "Q?", "completion_1": "x", "completion_2": "y"},
        "annotations": [
            {"completed_by": 1, "was_cancelled": False, "result": [pick("left")]},
            {"completed_by": 2, "was_cancelled": True, "result": [pick("right")]},
            {"completed_by": 3, "was_cancelled": True, "result": []},
        ],
        "drafts": [{"result": [pick("right")]}],
        "predictions": [{"result": [pick("right")]}, {"result": []}],
    }
    with pytest.warns(UserWarning, match=r"left out 4 .*\(2 prediction, 1 cancelled, 1 draft\)"):
        answers = import_tasks(tmp_path, [task])
    assert answers == [("label-studio-1", (1, 2)), ("label-studio-2", None)]


def test_two_questions_are_refused_or_chosen_by_name(tmp_path: Path) -> None:
    data = {"prompt": "Q?", "completion_1": "x", "completion_2": "y"}
    regions = [pick("left", "helpful"), pick("right", "harmless")]
    task = {"data": data, "annotations": [{"completed_by": 1, "result": regions}]}
    with pytest.raises(InputError, match="'helpful' and 'harmless' both say the answer; choose one with question="):
        import_tasks(tmp_path, [task])
    for question, ranks in (("helpful", (1, 2)), ("harmless", (2, 1))):
        assert import_tasks(tmp_path, [task], question=question) == [("label-studio-1", ranks)]
    with pytest.raises(InputError, match="no answer is called 'kind'"):
        import_tasks(tmp_path, [task], question="kind")


def test_of_several_answers_of_one_person_the_latest_counts(tmp_path: Path) -> None:
    data = {"prompt": "Q?", "completion_1": "x", "completion_2": "y"}
    times = ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"]
    sides = ["left", "right", "left"]
    annotations = [
        {"completed_by": 1, "created_at": time, "result": [pick(side)]} for time, side in zip(times, sides, strict=True)
    ]
    assert import_tasks(tmp_path, [{"data": data, "annotations": annotations}]) == [("label-studio-1", (2, 1))]
    path = tmp_path / "in.json"
    assert import_labels(path, tmp_path / "more.db").n_superseded == 2
    other = {"id": 7, "data": {**data, "prompt": "R?"}, "annotations": []}
    path.write_text(json.dumps([{"id": 7, "data": data, "annotations": annotations}, other]))
    with pytest.raises(InputError, match="item 2: the id 7 is that of another row as well"):
        import_labels(path, tmp_path / "more.db")


def test_rows_come_in_with_status_ranks_and_ties(tmp_path: Path) -> None:
    pair = {"prompt": "Q?", "chosen": "y", "rejected": "x"}
    texts = {"completion_1": "x", "completion_2": "y", "completion_3": "z"}
    ranking = [{"value": f"completion_{n}", "rank": rank} for n, rank in ((3, 1), (1, 2), (2, 2))]
    rows = [
        {**pair, "annotator": "ada", "status": "submitted"},
        {**pair, "annotator": "ben", "status": "discarded"},
        {**pair, "annotator": "cid", "tie": True},
        {"prompt": "Q?", **texts, "annotator": "ada", "ranking": ranking},
        {"prompt": "Q?", "completion": "x", "rating": 7, "annotator": "ada"},
    ]
    with pytest.warns(UserWarning, match=r"left out 1 rows that nobody submitted \(1 discarded\)"):
        answers = import_tasks(tmp_path, rows, source="rows")
    assert answers == sorted([("ada", (2, 1)), ("cid", (1, 1)), ("ada", (2, 2, 1)), ("ada", 7)], key=repr)
    with pytest.raises(InputError, match="item 1: no column 'annotator'"):
        import_tasks(tmp_path, [pair], source="rows")
