"""What somebody who owns the database can do to its log."""

from __future__ import annotations

import sqlite3

from seikyu.gate.audit import GENESIS
from seikyu.gate.canonical import canonical, sha256

COLUMNS = ("seq", "at", "kind", "action_id", "record", "prev")


def restamp(connection: sqlite3.Connection) -> None:
    """Number the rows from one and write the whole chain anew, so that it holds by itself."""
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM audit ORDER BY seq").fetchall()  # noqa: S608 - our names
    connection.execute("DELETE FROM audit")
    head = GENESIS
    for seq, (_, *content, _) in enumerate(rows, 1):
        row = dict(zip(COLUMNS, (seq, *content, head), strict=True))
        head = sha256(canonical(row))
        connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (*row.values(), head))
