"""The experiment that a checkpoint is of: named values and digests, so that a changed one is refused by name.

A run that goes on with another learning rate, other prompts or another reward model is neither the old experiment nor a
new one. Checkpoints therefore hold what decides the course of the training.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from textrl_env.errors import InputError
from textrl_env.training.checkpoints.folder import read_state

Experiment = Mapping[str, Any]
"""Name of an option, of a file or of the rows -> its value, or the digest of its content: `{"sha256": …}`, and under
`file` the place, which is named in messages and does not count."""
KEY = "experiment"
"""Its name in a checkpoint's state."""
MOST_NAMES = 6
"""Differences that one message names."""


def digest_rows(rows: Any) -> dict[str, str]:
    """Returns a digest of any JSON value, as an experiment holds it."""
    return {"sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


def as_record(experiment: Experiment) -> dict[str, Any]:
    """Returns an experiment as checkpoints hold it, without the places: one that is moved stays the same."""
    return {name: {"sha256": _content(value)} if _is_digest(value) else value for name, value in experiment.items()}


def require_same_experiment(path: str | Path, experiment: Experiment) -> None:
    """Compares all that `experiment` names with what a checkpoint holds under these names.

    Args:
        path: the checkpoint's folder.
        experiment: of the training that would go on from it; an empty one fits every checkpoint.

    Raises:
        InputError: no checkpoint there, or a difference; all are named, with the old value and the new one.
    """
    if not experiment:
        return
    former = read_state(path).get(KEY)
    if not isinstance(former, dict) or not former:
        raise InputError(
            f"{path} does not say which experiment it is of, so nothing tells whether this is the same; start anew "
            "with --resume never"
        )
    changes = list(_describe_changes(former, json.loads(json.dumps(experiment))))
    if changes:
        more = f"; and {len(changes) - MOST_NAMES} more" if len(changes) > MOST_NAMES else ""
        raise InputError(
            f"{path} is of another experiment: {'; '.join(changes[:MOST_NAMES])}{more}. Give what it had, or start "
            "anew with --resume never"
        )


def _describe_changes(former: Experiment, present: Experiment) -> Iterator[str]:
    for name, value in present.items():
        old = former.get(name)
        if _content(old) != _content(value):
            yield f"{name} {_describe(old, value)}"
    # A file less changes a model as well.
    groups = {name.partition("/")[0] for name in present if "/" in name}
    for name in former.keys() - present.keys():
        if name.partition("/")[0] in groups:
            yield f"{name} is gone"


def _content(value: Any) -> Any:
    return value["sha256"] if _is_digest(value) else value


def _is_digest(value: Any) -> bool:
    return isinstance(value, dict) and "sha256" in value


def _describe(old: Any, value: Any) -> str:
    if _is_digest(old) and _is_digest(value):
        place = f" ({value['file']})" if "file" in value else ""
        return f"has another content{place}, sha256 {old['sha256'][:8]} -> {value['sha256'][:8]}"
    return f"{_shorten(old)} -> {_shorten(value)}"


def _shorten(value: Any) -> str:
    if _is_digest(value):
        return str(value.get("file", f"a file of sha256 {value['sha256'][:8]}"))
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
