"""Files of a run: read from its folder; an error names file, row and remedy."""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from textrl_env.errors import InputError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run directory in memory: plain JSON values, all numbers finite, nulls left out."""

    folder: Path
    manifest: Row
    summary: Row
    ppo: Sequence[Row]
    """One row per PPO update, in file order."""
    completions: Sequence[Row]
    sft: Sequence[Row]
    """Empty where the run had no SFT stage of its own."""
    reward_model: Row | None
    """None where the run trained no reward model of its own."""

    def number(self, key: str) -> float | None:
        """Returns the summary's number under `key`, or None where the run did not measure it."""
        return read_number(self.summary, key, str(self.folder / "summary.json"))


def read_run(folder: Path) -> Run:
    """Reads a run directory.

    Required: manifest.json, summary.json, ppo/progress.jsonl, evaluation/completions.jsonl. A run that started from a
    finished SFT model or reward model has no sft/progress.jsonl or reward_model/metrics.json: these two are optional.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the output folder of a finished run (see textrl --help)")
    remedy = "expected the output folder of a finished run; train one first (see textrl --help)"
    manifest = _read_object(folder / "manifest.json", remedy)
    command = manifest.get("command", "")
    command = shlex.join(map(str, command)) if isinstance(command, list) else str(command)
    hint = f"finish the run with: {command}" if command else "run the training command again"
    sft, reward_model = folder / "sft" / "progress.jsonl", folder / "reward_model" / "metrics.json"
    run = Run(
        folder=folder,
        manifest={**manifest, "command": command},
        summary=_read_object(folder / "summary.json", hint),
        ppo=_read_rows(folder / "ppo" / "progress.jsonl", hint, _check_numbers),
        completions=_read_rows(folder / "evaluation" / "completions.jsonl", hint, _check_completion),
        sft=_read_rows(sft, hint, _check_numbers) if sft.exists() else [],
        reward_model=_read_object(reward_model, hint) if reward_model.exists() else None,
    )
    for key, value in run.summary.items():
        if isinstance(value, dict | list):
            raise InputError(f"{folder / 'summary.json'}: {key!r} must be one number, got {_shorten(value)}")
    for key in ("config", "versions"):
        if not isinstance(manifest.get(key, {}), dict):
            raise InputError(f"{folder / 'manifest.json'}: {key!r} must be an object, got {_shorten(manifest[key])}")
    return run


def read_number(row: Row, key: str, where: str) -> float | None:
    """Returns `row[key]` as a float, None where it is absent, InputError naming `where` when it is no number."""
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {key!r} must be a number, got {_shorten(value)}")
    return float(value)


def read_points(
    metrics: Row, key: str, columns: Sequence[str], where: str, *, optional: Sequence[str] = ()
) -> list[dict[str, float]]:
    """Returns the list of points under `metrics[key]`, each with every one of `columns`; empty where there is no list.

    A point with a null in `columns` is left out (a bin without pairs has no mean).
    """
    rows = metrics.get(key) or []
    if not isinstance(rows, list):
        raise InputError(f"{where}: {key!r} must be a list of objects, got {_shorten(rows)}")
    result = []
    for i, row in enumerate(rows):
        place = f"{where}: {key}[{i}]"
        if not isinstance(row, dict):
            raise InputError(f"{place} must be an object with {', '.join(columns)}, got {_shorten(row)}")
        if any((c in row and row[c] is None) for c in columns):
            continue
        numbers = {c: read_number(row, c, place) for c in (*columns, *optional)}
        values = {c: v for c, v in numbers.items() if v is not None}
        if missing := [c for c in columns if c not in values]:
            raise InputError(f"{place}: no {missing[0]!r} (found: {', '.join(map(repr, row)) or 'nothing'})")
        result.append(values)
    return result


def _read_object(path: Path, hint: str) -> dict[str, Any]:
    value = _parse(_read_text(path, hint), str(path), hint)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected one JSON object, got {_shorten(value)}; {hint}")
    return {k: v for k, v in value.items() if v is not None}


def _read_rows(path: Path, hint: str, check: Callable[[Row, str], None]) -> list[dict[str, Any]]:
    rows = []
    # split on "\n" alone: str.splitlines would also cut at U+2028, which JSON strings may contain
    for line, text in enumerate(_read_text(path, hint).split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        row = _parse(text, where, hint)
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected one JSON object per line, got {_shorten(row)}; {hint}")
        row = {k: v for k, v in row.items() if v is not None}
        check(row, where)
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: the file has no rows; {hint}")
    return rows


def _check_numbers(row: Row, where: str) -> None:
    for key in row:
        read_number(row, key, where)


def _check_completion(row: Row, where: str) -> None:
    for key in ("prompt", "sft", "ppo"):
        if not isinstance(row.get(key), str):
            columns = ", ".join(map(repr, row)) or "nothing"
            raise InputError(f"{where}: no text under {key!r} (found: {columns}); a row has 'prompt', 'sft' and 'ppo'")
    for key in ("gold_sft", "gold_ppo", "proxy_sft", "proxy_ppo"):
        read_number(row, key, where)


def _read_text(path: Path, hint: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {hint}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); {hint}") from None


def _parse(text: str, where: str, hint: str) -> Any:
    def reject(word: str) -> NoReturn:
        raise InputError(f"{where}: {word} is not a finite number; write null where nothing was measured; {hint}")

    def finite(word: str) -> float:
        value = float(word)
        return value if math.isfinite(value) else reject(word)

    try:
        return json.loads(text, parse_constant=reject, parse_float=finite)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if error.lineno > 1 else ""
        raise InputError(f"{where}{line}: not JSON ({error.msg}, column {error.colno}); {hint}") from None


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
