"""SQLite: one file that every process of one machine shares."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Final

from seikyu.errors import NOTHING, CommitUnknown, SeikyuError, StoreBusy, StoreDamaged, Taken, Text
from seikyu.models import Clock
from seikyu.store.database import AGAIN, BUSY_TIMEOUT_S, LOCKED, MAKE_ROOM, Dialect
from seikyu.store.schema import migrations, newer

_NO_ROOM = Text(
    "データベースに書き込めません（空き容量か権限）。", "The database cannot be written: no room, or no right."
)
_UNSOUND = Text("データベースのファイルが壊れています。", "The database file is not sound.")
_RESTORE = Text("バックアップから戻してください。", "Restore it from a backup.")
_KEYS: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_ROWID}
)
_UNSURE: Final = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""The last act of a commit failed after everything was written: a crash now might bring it back."""


def told(error: sqlite3.Error) -> SeikyuError:
    """What a fault of SQLite means for the caller. In each case the transaction changed nothing."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if extended in _KEYS:
        return Taken()
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreBusy(LOCKED, AGAIN, written=NOTHING)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return StoreBusy(_NO_ROOM, MAKE_ROOM, written=NOTHING)
    return StoreDamaged(_UNSOUND, _RESTORE, written=NOTHING)


SQLITE: Final = Dialect("sqlite", "sqlite3", sqlite3.Error, told)


class SqliteEngine:
    """Connections to the file at `path`, opened as they are needed."""

    dialect = SQLITE

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()  # a link to another disk: SQLite would make the file there, with whatever mode
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._is_ready = False

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        with self._borrowed() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            _commit(connection)

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection]:
        with self._borrowed() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")

    def clock(self, machine: Clock) -> Clock:
        return machine

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    @contextmanager
    def _borrowed(self) -> Generator[sqlite3.Connection]:
        """A connection for one transaction; after any fault it is closed, which rolls the transaction back."""
        connection = self._idle_or_new()
        try:
            yield connection
        except sqlite3.Error as error:
            connection.close()
            raise told(error) from error
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def _idle_or_new(self) -> sqlite3.Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            pass
        try:
            return self._open()
        except sqlite3.Error as error:
            raise told(error) from error

    def _open(self) -> sqlite3.Connection:
        _make_private(self._path)
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        # FULL: a commit that was answered survives a power cut
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; "
            "PRAGMA cache_size=-8192;"  # 8 MiB: a million actions are worked on at the speed of a thousand
        )
        if not self._is_ready:
            migrate(connection)
            self._is_ready = True
        return connection


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) in _UNSURE:
            raise CommitUnknown from error
        raise


def _make_private(path: Path) -> None:
    """The folder 0700 and an empty file 0600 before SQLite opens it; -wal and -shm take the file's mode.

    The file is made aside and linked into place: closing any descriptor of the database itself would drop every
    lock this process holds on it. Source: sqlite.org/howtocorrupt.html, 2.2, read 2026-11-21.
    """
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(draft, path)
    finally:
        draft.unlink()


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date under the write lock; several processes may start at once.

    Raises:
        StoreDamaged: the database was made by a newer version.
    """
    known = migrations("sqlite")
    newest = known[-1][0]
    (at,) = connection.execute("PRAGMA user_version").fetchone()
    if at == newest:
        return
    if at > newest:
        raise newer()
    connection.execute("BEGIN IMMEDIATE")
    try:
        (at,) = connection.execute("PRAGMA user_version").fetchone()
        for number, script in known:
            if number > at:
                for statement in _statements(script):
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest:d}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """Cut a script into statements; `executescript` would commit before each."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return [statement for statement in found if statement]
