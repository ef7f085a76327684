"""The database: short transactions over SQL that stands in `queries/`, numbered migrations in `migrations/`."""

from __future__ import annotations

import importlib
import os
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Final, TypeAlias, TypeVar, cast

from seikyu.errors import StoreBusy, StoreDamaged, Text

Value: TypeAlias = str | int | None
Row: TypeAlias = Mapping[str, Any]
"""One row; the rooms above give it a type before they use it."""

ResultT = TypeVar("ResultT")

BUSY_TIMEOUT_S: Final = 30
_BUSY = Text("データベースが使用中のため処理できませんでした。", "The database stayed locked for 30 s.")
_AGAIN = Text("しばらくしてからもう一度試してください。", "Try again in a moment.")


@cache
def _queries() -> Any:  # noqa: ANN401 - aiosql builds its functions at run time; `Tx` gives them types
    # imported late, for a server that only lists its tools needs no database; by name, for its types are partial
    aiosql: Any = importlib.import_module("aiosql")
    return aiosql.from_path(Path(str(files("seikyu.store") / "queries")), "sqlite3", mandatory_parameters=False)


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction in progress. Statements are named in `queries/`."""

    connection: sqlite3.Connection

    def one(self, name: str, /, **values: Value) -> Row | None:
        """The only row of a statement marked `^`."""
        row = getattr(_queries(), name)(self.connection, **values)
        return None if row is None else dict(cast("sqlite3.Row", row))

    def all(self, name: str, /, **values: Value) -> list[Row]:
        """Every row of a statement without a mark."""
        return [dict(row) for row in getattr(_queries(), name)(self.connection, **values)]

    def run(self, name: str, /, **values: Value) -> int:
        """Run a statement marked `!`; how many rows it changed."""
        return int(getattr(_queries(), name)(self.connection, **values))


class Store:
    """The SQLite database of one installation, shared by all its processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._is_ready = False

    @contextmanager
    def write(self) -> Generator[Tx]:
        """A transaction that holds the write lock from its first statement and is durable when it ends.

        Raises:
            StoreBusy: another process held the lock for 30 s; nothing was written.
        """
        with self._borrowed() as connection:
            _begin(connection)
            try:
                yield Tx(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def read(self) -> Generator[Tx]:
        """A transaction that sees one state of the database."""
        with self._borrowed() as connection:
            connection.execute("BEGIN")
            try:
                yield Tx(connection)
            finally:
                connection.execute("ROLLBACK")

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Do `work` (which opens its own transaction) in a thread, so that the event loop goes on.

        Not cancelled half-way: a transaction that began ends before the caller learns of its cancellation.
        """
        import anyio.to_thread

        return await anyio.to_thread.run_sync(work)

    def close(self) -> None:
        """Close every idle connection."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    @contextmanager
    def _borrowed(self) -> Generator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._open()
        try:
            yield connection
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise StoreBusy(_BUSY, _AGAIN) from error
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def _open(self) -> sqlite3.Connection:
        _make_private(self._path)
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        # FULL: a commit that was answered survives a power cut
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
        )
        if not self._is_ready:
            migrate(connection)
            self._is_ready = True
        return connection


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _make_private(path: Path) -> None:
    """The folder 0700 and the file 0600 before SQLite opens it; -wal and -shm take the file's mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.close(descriptor)


def _migrations() -> list[tuple[int, str]]:
    folder = files("seikyu.store") / "migrations"
    found = [
        (int(entry.name[:4]), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date under the write lock; several processes may start at once.

    Raises:
        StoreDamaged: the database was made by a newer version.
    """
    known = _migrations()
    (at,) = connection.execute("PRAGMA user_version").fetchone()
    if at == known[-1][0]:
        return
    if at > known[-1][0]:
        raise StoreDamaged(
            Text("データベースは新しい版の Seikyu で作られています。", "The database was made by a newer Seikyu."),
            Text("Seikyu を更新してください。", "Update Seikyu."),
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        (at,) = connection.execute("PRAGMA user_version").fetchone()
        for number, script in known:
            if number > at:
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number:d}")
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
