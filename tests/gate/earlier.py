"""A database as an earlier version of Seikyu left it."""

from __future__ import annotations

import sqlite3

from seikyu.store.schema import migrations


def earlier(current: sqlite3.Connection, version: int, place: str = ":memory:") -> sqlite3.Connection:
    """What `current` holds in the tables and columns there were at `version`, made by that version's migrations."""
    old = sqlite3.connect(place, isolation_level=None)
    for number, script in migrations("sqlite"):
        if number <= version:
            old.executescript(script)
    old.execute("PRAGMA foreign_keys = OFF")
    for (table,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        _copy(current, old, table)
    old.execute(f"PRAGMA user_version = {version:d}")
    return old


def _copy(current: sqlite3.Connection, old: sqlite3.Connection, table: str) -> None:
    columns = [str(row[1]) for row in old.execute(f'PRAGMA table_info("{table}")').fetchall()]
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    old.execute(f'DELETE FROM "{table}"')  # noqa: S608 - what a migration put there; the names are the schema's own
    rows = [tuple(row) for row in current.execute(f'SELECT {names} FROM "{table}"').fetchall()]  # noqa: S608
    old.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', rows)  # noqa: S608
