"""Handing the records over: a table for people, the log for machines, and a manifest that proves both.

The table has one header row, in Japanese, for an auditor opens it in Excel; the manifest has the columns' lasting
English names, in the same order. Nothing here holds a secret, and no document's bytes but in a copy of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import IO, Any, Final, TypeAlias

from seikyu.errors import ConfigurationError, StoreDamaged, Text
from seikyu.gate.actions import STATE_TEXT, Action
from seikyu.gate.audit import GENESIS
from seikyu.gate.listing import parted
from seikyu.gate.retention import Retention, state_in
from seikyu.gate.search import check_days
from seikyu.models import JST, jst_date, moment, shown, timestamp
from seikyu.spec import FileDigest, OpenFile
from seikyu.store.database import Row, Store, Tx

Cell: TypeAlias = str | int | None

_PAGE: Final = 500
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_SUFFIXES: Final = frozenset({".pdf", ".png", ".jpg", ".jpeg"})

COLUMNS: Final[Sequence[tuple[str, str, Callable[[Action], Cell]]]] = (
    ("取引年月日", "business_day", lambda one: one.business_day),
    ("取引金額（円）", "amount_yen", lambda one: one.particulars.recorded_amount),
    ("取引先", "counterparty", lambda one: one.particulars.counterparty_name),
    ("取引先番号", "counterparty_id", lambda one: one.particulars.counterparty_id),
    ("状態", "state_text", lambda one: STATE_TEXT[one.state].ja),
    ("状態コード", "state", lambda one: one.state.value),
    ("申請番号", "action_id", lambda one: one.id),
    ("操作", "operation", lambda one: one.operation),
    ("接続", "connection", lambda one: one.connection),
    ("依頼者", "requester", lambda one: one.requester),
    ("申請日時", "proposed_at_jst", lambda one: _japan_time(one.created_at)),
    ("最終更新日時", "updated_at_jst", lambda one: _japan_time(one.updated_at)),
    ("必要な承認数", "approvers", lambda one: one.approvers),
    ("提供元の番号", "reference", lambda one: one.reference),
    ("結果", "outcome", lambda one: None if one.outcome_text is None else one.outcome_text.ja),
    ("取消した申請", "reversed_by", lambda one: one.reversed_by),
    ("書類のSHA-256", "document_sha256", lambda one: one.file_sha256),
    ("内容のSHA-256", "digest", lambda one: one.digest),
)
"""The table: Japanese header, lasting English name, value."""

DOCUMENT_COLUMNS: Final = (
    ("SHA-256", "sha256"),
    ("ファイル名", "name"),
    ("バイト数", "bytes"),
    ("申請番号", "action_id"),
    ("保管中", "is_kept"),
    ("写し", "copy"),
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    manifest_sha256: str
    actions: int
    records: int
    documents: int
    damaged: tuple[str, ...] = ()
    """Ids of actions whose rows cannot be read: they stand in `damaged.jsonl` as they are stored."""


def export(
    store: Store,
    open_document: OpenFile,
    folder: Path,
    *,
    now: datetime,
    day_from: date = date.min,
    day_to: date = date.max,
    with_files: bool = False,
    retention: Retention | None = None,
) -> Exported:
    """Write everything whose business day is in the range into a new folder; the manifest comes last.

    Without a range the whole log is handed over; with one, the rows about the actions in it and the days' other rows.

    Raises:
        InvalidArguments: the range ends before it begins.
        ConfigurationError: the folder is there already, or cannot be written; a folder without a manifest is waste.
    """
    check_days(day_from, day_to)
    with _told(folder), store.read() as tx:
        folder.mkdir(mode=0o700, parents=True)
        found, damaged = _actions(tx, day_from, day_to)
        ids = tuple(str(row["id"]) for row in damaged)
        _write_csv(folder / "actions.csv", [ja for ja, _, _ in COLUMNS], [_cells(one) for one in found])
        _write_damaged(folder / "damaged.jsonl", damaged)
        records = _write_log(folder / "audit.jsonl", tx, {*ids, *(one.id for one in found)}, day_from, day_to)
        documents = _documents(folder, found, open_document, with_files=with_files)
        _write_csv(folder / "documents.csv", [ja for ja, _ in DOCUMENT_COLUMNS], documents)
        head = tx.one("audit_head") or {"seq": 0, "hash": GENESIS}
        manifest = {
            "made_at": timestamp(now),
            "business_days": {"from": day_from.isoformat(), "to": day_to.isoformat()},
            "is_whole_log": records == head["seq"],
            "retention": state_in(tx, retention or Retention(), jst_date(now)).as_json,
            "log": {"records": head["seq"], "head": head["hash"]},
            "exported": {"actions": len(found), "records": records, "documents": len(documents)},
            "damaged": ids,
            "columns": {
                "actions.csv": [name for _, name, _ in COLUMNS],
                "documents.csv": [name for _, name in DOCUMENT_COLUMNS],
            },
            "files": _digests(folder),
        }
        with _new(folder / "manifest.json") as file:
            json.dump(manifest, file, ensure_ascii=False, indent=2)
    return Exported(folder, _sha256(folder / "manifest.json"), len(found), records, len(documents), ids)


def cell(value: Cell) -> Cell:
    """A value as a spreadsheet must take it: text that would be a formula there gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    text = shown(value, 2000)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


@contextmanager
def _told(folder: Path) -> Generator[None]:
    try:
        yield
    except FileExistsError as error:
        raise ConfigurationError(
            Text(f"{folder} は既にあります。上書きはしません。", f"{folder} is there already and is not overwritten."),
            Text("新しいフォルダ名を指定してください。", "Name a new folder."),
        ) from error
    except OSError as error:
        raise ConfigurationError(
            Text(f"{folder} に書き込めません({error.strerror})。", f"{folder} cannot be written ({error.strerror})."),
            Text("空き容量と権限を確認してください。", "Check its free space and its permissions."),
        ) from error


def _actions(tx: Tx, day_from: date, day_to: date) -> tuple[list[Action], list[Row]]:
    """In the order of their days, and the rows that cannot be read: one damaged row must not hold back the others."""
    found, damaged, after = list[Action](), list[Row](), ""
    days = {"day_from": day_from.isoformat(), "day_to": day_to.isoformat()}
    while page := tx.all("actions_between", after=after, limit=_PAGE, **days):
        read, unread = parted(page)
        found, damaged, after = found + read, damaged + unread, page[-1]["id"]
    return sorted(found, key=lambda one: (one.business_day, one.id)), damaged


def _write_damaged(path: Path, rows: Sequence[Row]) -> None:
    """Every column as it is stored; no file when there is none."""
    if rows:
        with _new(path) as file:
            file.writelines(json.dumps(dict(row), default=repr) + "\n" for row in rows)


def _cells(one: Action) -> list[Cell]:
    return [value(one) for _, _, value in COLUMNS]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    with _new(path, "utf-8-sig") as file:  # the mark is how Excel knows UTF-8
        table = csv.writer(file, quoting=csv.QUOTE_ALL)
        table.writerow(header)
        table.writerows([cell(value) for value in row] for row in rows)


def _write_log(path: Path, tx: Tx, ids: set[str], day_from: date, day_to: date) -> int:
    """Rows as they were hashed, so that anybody can hash them again."""
    written, after = 0, 0
    with _new(path) as file:
        while page := tx.all("audit_page", after=after, limit=_PAGE):
            for row in page:
                if _is_about(row, ids, day_from, day_to):
                    file.write(json.dumps(dict(row), ensure_ascii=False) + "\n")
                    written += 1
            after = page[-1]["seq"]
    return written


def _is_about(row: Row, ids: set[str], day_from: date, day_to: date) -> bool:
    if row["action_id"] is not None:
        return row["action_id"] in ids
    return day_from <= jst_date(moment(row["at"])) <= day_to


def _documents(folder: Path, found: Sequence[Action], open_document: OpenFile, *, with_files: bool) -> list[list[Cell]]:
    rows = list[list[Cell]]()
    for one in found:
        for file in one.request.files:
            copy = _copy_name(file) if with_files else None
            is_kept = _keep_copy(folder, file, open_document, copy)
            said = "はい" if is_kept else "いいえ"
            rows.append([file.sha256, file.name, file.size, one.id, said, copy if is_kept else None])
    return rows


def _copy_name(file: FileDigest) -> str:
    suffix = PurePath(file.name).suffix.lower()
    return f"documents/{file.sha256}{suffix if suffix in _SUFFIXES else ''}"


def _keep_copy(folder: Path, file: FileDigest, open_document: OpenFile, copy: str | None) -> bool:
    """Copy the document, once, unless `copy` is None; False when it is not kept any more, or not intact."""
    try:
        content = open_document(file.sha256)
    except StoreDamaged:
        return False
    with content:
        if copy is not None and not (folder / copy).exists():
            (folder / copy).parent.mkdir(mode=0o700, exist_ok=True)
            with open(folder / copy, "xb", opener=_private) as target:
                shutil.copyfileobj(content, target)
    return True


def _new(path: Path, encoding: str = "utf-8") -> IO[str]:
    return open(path, "x", encoding=encoding, newline="", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _digests(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"sha256": _sha256(path), "bytes": path.stat().st_size} for path in files
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _japan_time(stamp: str) -> str:
    return moment(stamp).astimezone(JST).strftime("%Y-%m-%d %H:%M:%S")
