"""The audit log: one row for every change, in the same transaction, each sealed to the one before by its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from seikyu.gate.canonical import canonical, sha256
from seikyu.models import timestamp
from seikyu.store.database import Row, Store, Tx

GENESIS: Final = "0" * 64
"""The `prev` of the first row."""

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a verification found."""

    rows: int
    head: str
    """Hash of the last row."""
    fault: str | None
    """The first row that is not as it was written; None when the chain holds."""


def _row_hash(row: Mapping[str, Any]) -> str:
    fields = {key: row[key] for key in ("seq", "at", "kind", "action_id", "record", "prev")}
    return sha256(canonical(fields))


def append(tx: Tx, at: datetime, kind: str, action_id: str | None = None, **record: Any) -> None:  # noqa: ANN401 - JSON
    """Add a row in the caller's transaction. Never pass a secret or a document's bytes."""
    head = tx.one("audit_head")
    row: dict[str, Any] = {
        "seq": 1 if head is None else head["seq"] + 1,
        "at": timestamp(at),
        "kind": kind,
        "action_id": action_id,
        "record": canonical(record).decode(),
        "prev": GENESIS if head is None else head["hash"],
    }
    tx.run("append_audit", **row, hash=_row_hash(row))


def verify(store: Store) -> AuditReport:
    """Walk the chain from its first row, a page at a time."""
    count, head = 0, GENESIS
    while True:
        with store.read() as tx:
            page = tx.all("audit_page", after=count, limit=_PAGE)
        for row in page:
            fault = _fault(row, count + 1, head)
            if fault:
                return AuditReport(count, head, fault)
            count, head = row["seq"], row["hash"]
        if len(page) < _PAGE:
            return AuditReport(count, head, None)


def _fault(row: Row, seq: int, prev: str) -> str | None:
    if row["seq"] != seq:
        return f"record {seq} is missing"
    if row["prev"] != prev:
        return f"record {seq} does not follow record {seq - 1}"
    if row["hash"] != _row_hash(row):
        return f"record {seq} was changed"
    return None


def history(tx: Tx, action_id: str) -> list[dict[str, Any]]:
    """Every row about one action, oldest first."""
    return [
        {"seq": row["seq"], "at": row["at"], "kind": row["kind"], **json.loads(row["record"])}
        for row in tx.all("audit_of_action", action_id=action_id)
    ]
