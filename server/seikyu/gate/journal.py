"""The journal of sends: what left this machine, written down outside the database before its first byte.

A database can be set back to an older day; the provider cannot. Each line holds all that is needed to take the
action up again in a database that has never heard of it. No secret and no document's bytes are in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from seikyu.errors import NOTHING, StoreBusy, StoreDamaged, Text
from seikyu.gate.actions import Action
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.witness import REVISION_COLUMNS, ROW_COLUMNS, revision_hash
from seikyu.models import moment, timestamp
from seikyu.store.lines import append_line, last_lines

FORMAT: Final = 1

NEWEST_BYTES: Final = 16_384
"""How much of the newest file is looked at before a claim; its last line in any case, however long it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: this action, claimed with this epoch, was about to leave."""

    action_id: str
    epoch: int
    at: str
    approved_by: tuple[str, ...]
    row: Mapping[str, Any]
    """The action's whole row, as it was claimed."""
    sha256: str
    """Of the line; the log names it when the action is taken up again."""
    edits: tuple[Mapping[str, Any], ...] = ()
    """Every edit it had, as rows: the calls it was made by before are still this action."""


class Journal:
    """One file a month (UTC) in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(
        self, row: Mapping[str, Any], *, edits: Sequence[Mapping[str, Any]], approved_by: tuple[str, ...], now: datetime
    ) -> None:
        """Write a claimed action down with its edits; durable when this returns.

        Raises:
            StoreBusy: it could not be written, so nothing may be sent.
        """
        at = timestamp(now)
        try:
            line = line_of(row, edits=edits, approved_by=approved_by, at=at)
            append_line(self._folder / f"{at[:7]}.jsonl", line)
        except OSError as error:
            raise StoreBusy(
                Text(
                    f"送信控え({self._folder})に書き込めないため送信しません（{error.strerror}）。",
                    f"Not sent: the journal of sends in {self._folder} cannot be written ({error.strerror}).",
                ),
                Text("空き容量と権限を確認してください。", "Check its free space and its permissions."),
                written=NOTHING,
            ) from error

    def entries(self) -> Iterator[Entry | None]:
        """Every line, newest first; None for one that cannot be read, such as one that a crash cut short.

        Raises:
            StoreDamaged: a file cannot be read.
        """
        for path in self._files():
            yield from map(entry_of, reversed(_read(path)))

    def newest(self) -> list[Entry | None]:
        """The last few lines, newest first. Raises as `entries`."""
        for path in self._files():
            return list(map(entry_of, reversed(_read(path, NEWEST_BYTES) or _read(path))))
        return []

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"), reverse=True)


def _read(path: Path, size: int | None = None) -> list[bytes]:
    try:
        return last_lines(path, path.stat().st_size if size is None else size)
    except OSError as error:
        raise StoreDamaged(
            Text(f"送信控え {path} を読めません（{error.strerror}）。", f"{path} cannot be read ({error.strerror})."),
            Text("権限を確認してください。", "Check its permissions."),
            written=NOTHING,
        ) from error


def line_of(
    row: Mapping[str, Any], *, edits: Sequence[Mapping[str, Any]], approved_by: tuple[str, ...], at: str
) -> bytes:
    """One line, without its end."""
    said = {"format": FORMAT, "at": at, "approved_by": list(approved_by), "row": dict(row)}
    return canonical({**said, "edits": [dict(edit) for edit in edits]} if edits else said)


def entry_of(line: bytes) -> Entry | None:
    """What a line says; None when it cannot be read."""
    try:
        said = json.loads(line)
        row, names, edits = said["row"], said["approved_by"], tuple(said.get("edits", ()))
        return Entry(row["id"], int(row["epoch"]), said["at"], tuple(map(str, names)), row, sha256(line), edits)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_whole(entry: Entry) -> bool:
    """Whether everything that makes an action is there, and its content is what its digest says."""
    try:
        action = Action.model_validate(entry.row)
        moment(entry.at)
        is_ours = sha256(action.canonical.encode()) == action.digest and action.request.operation == action.operation
        return is_ours and _is_row(entry.row) and all(_is_edit(edit, action) for edit in entry.edits)
    except (ValidationError, ValueError, KeyError, TypeError):
        return False


_NUMBERS: Final = frozenset({"revision", "amount", "approvers", "epoch", "unsent_tries", "may_have_left"})


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether each value is of the kind its column holds; the log will say of the row what the line says."""
    values = {name: row.get(name) for name in ROW_COLUMNS}
    return all(value is None or type(value) is (int if name in _NUMBERS else str) for name, value in values.items())


def _is_edit(edit: Mapping[str, Any], action: Action) -> bool:
    revision_hash(edit)  # raises for what no row can hold
    texts = (edit["editor"], edit["call_digest"], edit["statement"], edit["seal"] or "")
    said: object = json.loads(edit["statement"])
    is_said = isinstance(said, dict) and "new_digest" in cast("dict[str, object]", said)
    is_row = set(edit) == set(REVISION_COLUMNS) and all(isinstance(text, str) for text in texts)
    return is_said and is_row and type(edit["revision"]) is int and edit["action_id"] == action.id
