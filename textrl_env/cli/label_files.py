"""`textrl export-labels` and `textrl import-labels`: labels out of and into a database."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textrl_env.cli.run_folder import existing, write_jsonl
from textrl_env.data import OnBadRow
from textrl_env.errors import InputError

Form = Literal["preferences", "rankings", "ratings", "log", "label-studio", "argilla"]


@dataclass(frozen=True)
class ExportLabels:
    """Writes labels as JSONL for `textrl reward-model`, `trl dpo` and `trl reward`, or as JSON for other tools."""

    database: Path = Path("runs/labels.db")
    """The database."""
    out: Path = Path("runs/labels.jsonl")
    """The file to write; an earlier one is replaced."""
    form: Form = "preferences"
    """Pairs with chosen and rejected; whole rankings; ratings; every event; or another tool's JSON."""
    keep_ties: bool = False
    """Ties are rows too, with tie true: right for textrl reward-model; TRL would take them for preferences."""

    def run(self) -> None:
        """Writes the file and prints what is in it."""
        existing(self.database, made_by="textrl label")
        if self.out.resolve() == self.database.resolve():
            raise InputError(f"out: {self.out} is the database itself; name another file")

        from textrl_env.reward_models.feedback.desk import Log, Store
        from textrl_env.reward_models.feedback.exchange import (
            by_item,
            exports,
            labeling_config,
            to_argilla,
            to_label_studio,
        )

        store, log = Store(self.database), Log()
        log.apply(store.events())
        items = store.items
        store.close()
        rows: list[dict[str, Any]]
        match self.form:
            case "preferences":
                rows = exports.preferences(log, items, keep_ties=self.keep_ties)
            case "rankings":
                rows = exports.rankings(log, items)
            case "ratings":
                rows = exports.ratings(log, items)
            case "log":
                rows = exports.events(log, items)
            case "label-studio":
                rows = to_label_studio(by_item(log, items))
                for task, k in sorted({(item.task, len(item.completions)) for item in items.values()}):
                    config = self.out.with_name(f"{self.out.stem}-{task}-{k}.xml")
                    self.out.parent.mkdir(parents=True, exist_ok=True)
                    config.write_text(labeling_config(task, k), encoding="utf-8")
                    print(f"labelling interface for Label Studio: {config}")
            case "argilla":
                rows = to_argilla(by_item(log, items))
        if not rows:
            raise InputError(f"{self.database}: no {self.form} in it yet; nothing was written")
        if self.form in ("label-studio", "argilla"):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        else:
            write_jsonl(self.out, rows)
        ties = 0 if self.keep_ties or self.form != "preferences" else self._n_ties(log, items)
        print(
            f"{len(rows)} rows of {self.form} in {self.out}" + (f"; {ties} ties left out (--keep-ties)" if ties else "")
        )

    def _n_ties(self, log: Any, items: Any) -> int:
        from textrl_env.reward_models.feedback.exchange import preferences

        return sum(row["tie"] for row in preferences(log, items, keep_ties=True))


@dataclass(frozen=True)
class ImportLabels:
    """Reads the labels of a Label Studio or Argilla export into a database; every row is checked first."""

    file: Path
    """The export, JSON or JSONL."""
    source: Literal["label-studio", "argilla"]
    """The tool that wrote it."""
    database: Path = Path("runs/labels.db")
    """The database; made if it is not there."""
    prompt_column: str = "prompt"
    """The text field that holds the prompt."""
    completion_columns: tuple[str, ...] = ()
    """The text fields that hold the completions; by default completion_1, completion_2 and so on."""
    on_bad_row: OnBadRow = "error"
    """What a bad row does: stop before anything is written, or be left out and counted."""

    def run(self) -> None:
        """Writes what is new and prints how much that was."""
        from textrl_env.reward_models.feedback.desk import Store
        from textrl_env.reward_models.feedback.exchange import (
            Columns,
            add_to,
            from_argilla,
            from_label_studio,
            read_imported,
        )

        columns = Columns(self.prompt_column, self.completion_columns)
        read, column = {"label-studio": (from_label_studio, "data"), "argilla": (from_argilla, "fields")}[self.source]
        found = read_imported(self.file, lambda row: read(row, columns), column, on_bad_row=self.on_bad_row)
        store = Store(self.database)
        added = add_to(store, found)
        store.close()
        print(f"{len(found)} answers in {self.file}, {added} of them new in {self.database}")
