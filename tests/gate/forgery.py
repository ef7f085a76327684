"""What somebody who owns the database can do to its log."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg

from gate.stage import Stage
from seikyu.gate.audit import GENESIS
from seikyu.gate.canonical import canonical, sha256


def forge(stage: Stage, statement: str, *values: object) -> int:
    """Run `statement` past the gate; how many rows it changed."""
    url = stage.settings.database_url
    if url is not None:
        with psycopg.connect(url.get_secret_value()) as there:
            return there.execute(statement.replace("?", "%s").encode(), values or None).rowcount
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        return raw.execute(statement, values).rowcount


COLUMNS = ("seq", "at", "kind", "action_id", "record", "prev")


def restamp(connection: sqlite3.Connection) -> None:
    """Number the rows from one and write the whole chain anew, so that it holds by itself."""
    write_log(connection, connection.execute("SELECT * FROM audit ORDER BY seq").fetchall(), is_stamped=True)


def write_log(connection: sqlite3.Connection, rows: Sequence[Any], *, is_stamped: bool) -> None:
    """Put `rows` in the place of the log, as they are or with every number and hash made anew."""
    connection.execute("DELETE FROM audit")
    connection.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", _stamped(rows) if is_stamped else rows)


def _stamped(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    head, stamped = GENESIS, list[tuple[Any, ...]]()
    for seq, (_, *content, _, _) in enumerate(rows, 1):
        row = dict(zip(COLUMNS, (seq, *content, head), strict=True))
        head = sha256(canonical(row))
        stamped.append((*row.values(), head))
    return stamped
