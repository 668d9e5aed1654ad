"""Files of labels: exports of a database in every form, and imports into one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from textrl_env.data import OnBadRow
from textrl_env.errors import InputError
from textrl_env.files import write_text
from textrl_env.reward_models.feedback.exchange.imported_answers import (
    TextColumns,
    add_answers,
    group_by_item,
    read_answers,
    select_latest,
)
from textrl_env.reward_models.feedback.exchange.judged_rows import from_judged_row
from textrl_env.reward_models.feedback.exchange.label_studio import (
    from_label_studio,
    make_labeling_config,
    to_label_studio,
)
from textrl_env.reward_models.feedback.exchange.training_rows import (
    export_events,
    export_preferences,
    export_rankings,
    export_ratings,
)
from textrl_env.reward_models.feedback.store import LabelLog, Store
from textrl_env.reward_models.preferences import write_preferences

LabelSource = Literal["label-studio", "rows"]
LabelForm = Literal["preferences", "rankings", "ratings", "log", "label-studio"]


@dataclass(frozen=True)
class ExportSummary:
    """Counts of an export, and the files beside it."""

    n_rows: int
    n_ties: int
    """Ties that were left out."""
    interfaces: tuple[Path, ...]
    """Labelling interfaces for Label Studio, one per task and number of completions."""


@dataclass(frozen=True)
class ImportSummary:
    """Counts of an import."""

    n_answers: int
    """Answers in the file."""
    n_new: int
    """Answers that were not in the database before."""
    n_superseded: int = 0
    """Answers to an item that the same person answered once more, later."""


def export_labels(
    database: str | Path, out: str | Path, form: LabelForm = "preferences", *, keep_ties: bool = False
) -> ExportSummary:
    """Writes the labels of a database as JSONL that trains, or as JSON for Label Studio.

    Args:
        database: the file that `Store` keeps.
        out: the file to write; an earlier one is replaced.
        form: rows of pairs, of whole rankings, of ratings, of every event, or Label Studio's tasks.
        keep_ties: makes rows of ties, too, in the form `preferences`.

    Raises:
        InputError: `out` is the database itself, the database is damaged or foreign, or there is nothing to write.
    """
    database, out = Path(database), Path(out)
    if out.resolve() == database.resolve():
        raise InputError(f"out: {out} is the database itself; name another file")
    store, log = Store(database), LabelLog()
    log.apply(store.events())
    items = store.items
    store.close()
    rows: Sequence[dict[str, Any]]
    n_ties = 0
    match form:
        case "preferences":
            pairs = export_preferences(log, items, keep_ties=True)
            rows = [row for row in pairs if keep_ties or not row["tie"]]
            n_ties = len(pairs) - len(rows)
        case "rankings":
            rows = export_rankings(log, items)
        case "ratings":
            rows = export_ratings(log, items)
        case "log":
            rows = export_events(log, items)
        case "label-studio":
            rows = to_label_studio(group_by_item(log, items))
    if not rows:
        raise InputError(f"{database}: no {form} in it yet; nothing was written")
    if form != "label-studio":
        write_preferences(out, rows)
        return ExportSummary(len(rows), n_ties, ())
    write_text(out, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    interfaces = []
    for task, k in sorted({(item.task, len(item.completions)) for item in items.values()}):
        interfaces.append(out.with_name(f"{out.stem}-{task}-{k}.xml"))
        write_text(interfaces[-1], make_labeling_config(task, k))
    return ExportSummary(len(rows), 0, tuple(interfaces))


def import_labels(
    path: str | Path,
    database: str | Path,
    *,
    source: LabelSource = "label-studio",
    columns: TextColumns | None = None,
    question: str = "",
    on_bad_row: OnBadRow = "error",
) -> ImportSummary:
    """Reads labels from elsewhere into a database; every row is checked before anything is written.

    Args:
        path: an export of Label Studio, JSON or JSONL, or a file of rows.
        database: made if it is not there. An answer that is there already is never replaced.
        source: what wrote the file: `label-studio`, or `rows` with a judgement each, see `from_judged_row`.
        columns: names of the texts in the export's tasks; by default those of `export_labels`.
        question: of a Label Studio project with several, the name of the one whose answers are read.
        on_bad_row: `error` stops at bad rows, `skip` leaves them out with a warning.

    Raises:
        InputError: bad rows, by their numbers; or the database is damaged or foreign.
    """
    columns = columns or TextColumns()
    if source == "rows":
        if question:
            raise InputError("question: rows have one answer each; it is for source label-studio")
        entries = read_answers(path, lambda row: from_judged_row(row, columns), "annotator", on_bad_row=on_bad_row)
    else:
        read_row = partial(from_label_studio, columns=columns, question=question)
        entries = read_answers(path, read_row, "data", on_bad_row=on_bad_row)
    answers = select_latest(entries)
    store = Store(database)
    n_new = add_answers(store, answers)
    store.close()
    return ImportSummary(len(entries), n_new, len(entries) - len(answers))
