"""PostgreSQL: one database that the processes of many machines share.

A writer takes one advisory lock first, for the whole transaction, and reads at READ COMMITTED: each statement then
sees everything the writers before it committed, so that facts, totals and the head of the log are those of one
writer at a time, as in SQLite. (A snapshot of REPEATABLE READ would be taken before the wait for the lock, and be
old after it; SERIALIZABLE would let two go on and fail one at its end.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from queue import Empty, LifoQueue
from typing import Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, pq
from pydantic import SecretStr

from seikyu.errors import (
    NOTHING,
    CommitUnknown,
    ConfigurationError,
    InvalidArguments,
    SeikyuError,
    StoreBusy,
    StoreDamaged,
    Taken,
    Text,
)
from seikyu.models import Clock
from seikyu.store.database import AGAIN, BUSY_TIMEOUT_S, LOCKED, MAKE_ROOM, NO_VALUE, Dialect
from seikyu.store.postgres_opening import (
    LOCK,
    MEND_URL,
    OUT_OF_REACH,
    Connection,
    check_durable,
    last_row,
    open_connection,
)
from seikyu.store.postgres_plans import COLUMNS, PlannedOnce

POOL: Final = 8
"""Connections of one process at most; who finds none waits for 30 s. One writes, the others read."""

_BEGIN_WRITE: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
    " SET LOCAL plan_cache_mode = force_generic_plan;"
    f" SELECT pg_advisory_xact_lock({LOCK}), current_setting('synchronous_commit') AS durability,"
    f" clock_timestamp() AS now, ({COLUMNS}) AS columns"
)
_BEGIN_READ: Final = (
    f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT clock_timestamp() AS now, ({COLUMNS}) AS columns"
)

_NO_ROOM = Text(
    "データベースに書き込めません（空き容量か権限）。", "The database cannot be written: no room, or no right."
)
_NOT_OURS = Text("データベースの内容が Seikyu の作ったものと違います。", "The database is not as Seikyu made it.")
_GROWN = Text("データベースが新しい版に更新されました。", "A newer Seikyu has just changed the database.")
_POOLED = Text(
    "データベースとの間のプーラーが、接続の設定と計画を保ちません。",
    "A pooler between Seikyu and the database does not keep what belongs to a connection.",
)
_DIRECT = Text(
    "データベースの直接のアドレスか、プーラーの session モードを SEIKYU_DATABASE_URL に書いてください。",
    "Let SEIKYU_DATABASE_URL name the database itself, or the pooler's session mode.",
)
_MEANINGS: Final[Sequence[tuple[type[psycopg.Error], Callable[[], SeikyuError]]]] = (
    (errors.UniqueViolation, Taken),
    (errors.LockNotAvailable, lambda: StoreBusy(LOCKED, AGAIN, written=NOTHING)),
    (errors.DiskFull, lambda: StoreBusy(_NO_ROOM, MAKE_ROOM, written=NOTHING)),
    (errors.ReadOnlySqlTransaction, lambda: StoreBusy(_NO_ROOM, MAKE_ROOM, written=NOTHING)),
    (errors.FeatureNotSupported, lambda: StoreBusy(_GROWN, AGAIN, written=NOTHING)),
    (errors.InvalidSqlStatementName, lambda: ConfigurationError(_POOLED, _DIRECT, written=NOTHING)),
    (errors.DuplicatePreparedStatement, lambda: ConfigurationError(_POOLED, _DIRECT, written=NOTHING)),
    (errors.InsufficientPrivilege, lambda: ConfigurationError(_NO_ROOM, MEND_URL)),
    (psycopg.OperationalError, lambda: StoreBusy(OUT_OF_REACH, AGAIN, written=NOTHING)),
    (psycopg.InterfaceError, lambda: StoreBusy(OUT_OF_REACH, AGAIN, written=NOTHING)),
    (psycopg.DataError, lambda: InvalidArguments(NO_VALUE)),
)
"""The first that fits counts."""


def told(error: psycopg.Error) -> SeikyuError:
    """What a fault of PostgreSQL means for the caller. In each case the transaction changed nothing."""
    meanings = (meaning() for kind, meaning in _MEANINGS if isinstance(error, kind))
    return next(meanings, StoreDamaged(_NOT_OURS, written=NOTHING))


POSTGRES: Final = Dialect("postgres", PlannedOnce, psycopg.Error, told)


class PostgresEngine:
    """Connections to the database at `url`, a few, opened as they are needed."""

    dialect = POSTGRES

    def __init__(self, url: SecretStr, *, may_migrate: bool = True) -> None:
        self._url = url
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._places = threading.BoundedSemaphore(POOL)
        self._is_ready = not may_migrate
        self._seen: tuple[datetime, int] | None = None
        self._columns: WeakKeyDictionary[Connection, int | None] = WeakKeyDictionary()
        """Of `action`, when each connection made its plans."""

    @contextmanager
    def write(self) -> Generator[Connection]:
        with self._borrowed(_BEGIN_WRITE) as connection:
            yield connection
            _commit(connection)

    @contextmanager
    def read(self) -> Generator[Connection]:
        with self._borrowed(_BEGIN_READ) as connection:
            yield connection
            connection.execute(
                "COMMIT", prepare=False
            )  # of nothing; the driver forgets its plans when it hears of a rollback

    def clock(self, machine: Clock) -> Clock:
        del machine
        return self

    def close(self) -> None:
        while (connection := self._one_idle()) is not None:
            connection.close()

    def now(self) -> datetime:
        """The database's time: as each transaction reads it, and on from there by a clock that only runs forward."""
        if self._seen is None:
            with self.read():
                pass
        assert self._seen is not None  # noqa: S101 - every transaction begins by looking
        at, ticks = self._seen
        return at + timedelta(microseconds=(time.monotonic_ns() - ticks) // 1000)

    @contextmanager
    def _borrowed(self, begin: str) -> Generator[Connection]:
        """A connection in a transaction; after any fault it is rolled back, or closed if that fails."""
        with self._place():
            connection = self._begun(begin)
            try:
                yield connection
            except psycopg.Error as error:
                self._give_back(connection)
                raise told(error) from error
            except BaseException:
                self._give_back(connection)
                raise
            self._idle.put(connection)

    @contextmanager
    def _place(self) -> Generator[None]:
        if not self._places.acquire(timeout=BUSY_TIMEOUT_S):
            raise StoreBusy(LOCKED, AGAIN, written=NOTHING)
        try:
            yield
        finally:
            self._places.release()

    def _begun(self, begin: str) -> Connection:
        """Begin on an idle connection that still works, else on a new one."""
        while (connection := self._one_idle()) is not None:
            try:
                return self._begin(connection, begin)
            except psycopg.Error as error:
                if not _is_lost(error):  # else the server has been started anew since; nothing was begun
                    raise told(error) from error
        connection = self._open()
        try:
            return self._begin(connection, begin)
        except psycopg.Error as error:
            raise told(error) from error

    def _begin(self, connection: Connection, begin: str) -> Connection:
        try:
            said = last_row(connection, begin)
            check_durable(said.get("durability", "on"))
            if self._columns.setdefault(connection, said["columns"]) != said["columns"]:
                connection.execute("DEALLOCATE ALL")
                self._columns[connection] = said["columns"]
        except BaseException:
            connection.close()
            raise
        self._seen = (said["now"], time.monotonic_ns())
        return connection

    def _one_idle(self) -> Connection | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _give_back(self, connection: Connection) -> None:
        if connection.info.transaction_status in {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}:
            try:
                connection.execute("ROLLBACK", prepare=False)
            except psycopg.Error:
                connection.close()
                return
            self._idle.put(connection)
        else:
            connection.close()

    def _open(self) -> Connection:
        try:
            connection = open_connection(self._url, is_known=self._is_ready)
        except psycopg.Error as error:
            raise told(error) from error
        self._is_ready = True
        return connection


def _is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone: no word from the server, or its last one (it stops, or ends the session)."""
    state = error.sqlstate or ""
    is_ours = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return is_ours and (not state or state.startswith(("08", "57P")) or state == "25P03")


def _commit(connection: Connection) -> None:
    """Commit.

    Raises:
        CommitUnknown: the connection was lost before the answer.
        RuntimeError: a statement had failed, and the caller went on.
    """
    try:
        cursor = connection.execute("COMMIT", prepare=False)
    except psycopg.Error as error:
        is_answered = connection.info.transaction_status is pq.TransactionStatus.IDLE
        if _is_lost(error) or not is_answered:
            connection.close()
            raise CommitUnknown from error
        raise
    if cursor.statusmessage != "COMMIT":
        msg = "a transaction went on after one of its statements had failed; it was rolled back"
        raise RuntimeError(msg)
