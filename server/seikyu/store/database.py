"""The database: short transactions over SQL that stands in `queries/`, numbered migrations in `migrations/`."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Final, TypeAlias, TypeVar, cast

from seikyu.errors import NOTHING, StoreBusy, StoreDamaged, Text

Value: TypeAlias = str | int | None
Row: TypeAlias = Mapping[str, Any]
"""One row; the rooms above give it a type before they use it."""

ResultT = TypeVar("ResultT")

BUSY_TIMEOUT_S: Final = 30
_BUSY = Text("データベースが使用中のため処理できませんでした。", "The database stayed locked for 30 s.")
_NO_ROOM = Text(
    "データベースに書き込めません（空き容量か権限）。", "The database cannot be written: no room, or no right."
)
_UNSOUND = Text("データベースのファイルが壊れています。", "The database file is not sound.")
_RESTORE = Text("バックアップから戻してください。", "Restore it from a backup.")
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
            StoreBusy: another process held the lock for 30 s, or the disk is full; nothing was changed.
            StoreDamaged: the file is not a sound database.
        """
        with self._borrowed() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Tx(connection)
            connection.execute("COMMIT")

    @contextmanager
    def read(self) -> Generator[Tx]:
        """A transaction that sees one state of the database. Raises as `write`."""
        with self._borrowed() as connection:
            connection.execute("BEGIN")
            yield Tx(connection)
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
        """A connection for one transaction; after any fault it is closed, which rolls the transaction back."""
        connection = self._idle_or_new()
        try:
            yield connection
        except sqlite3.IntegrityError:
            connection.close()
            raise
        except sqlite3.Error as error:
            connection.close()
            raise _told(error) from error
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
            raise _told(error) from error

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


def _told(error: sqlite3.Error) -> StoreBusy | StoreDamaged:
    """What a fault of SQLite means for the caller. Either way the transaction changed nothing."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreBusy(_BUSY, _AGAIN, written=NOTHING)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return StoreBusy(_NO_ROOM, _AGAIN, written=NOTHING)
    return StoreDamaged(_UNSOUND, _RESTORE, written=NOTHING)


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
