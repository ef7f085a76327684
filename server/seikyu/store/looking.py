"""A database looked at without changing it: no table is made or brought up to date, no file appears or grows.

SQLite makes files beside the database for anyone who opens it in the usual way, and takes a journal in that a crash
left behind. So it is opened read-only, and as `immutable` where no other process can have it open.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

from pydantic import SecretStr

from seikyu.errors import NOTHING, ConfigurationError, SeikyuError, StoreBusy, Text
from seikyu.models import Clock
from seikyu.store.database import AGAIN, Store
from seikyu.store.schema import migrations
from seikyu.store.sqlite import SQLITE, told

ResultT = TypeVar("ResultT")

LOCK_S: Final = 1
"""How long a look waits for a database that somebody locked whole."""
TRIES: Final = 15
PAUSE_S: Final = 0.02
_STEPS: Final = 10_000
"""Of SQLite's machine, between two looks at the clock; well under a millisecond."""

_UNFINISHED: Final = Text(
    "書き込みの控え（-wal）が残っているか、他のプログラムがデータベースを占有しています。",
    "A journal (-wal) lies beside the database that nobody has taken in, or a program holds it alone.",
)
_OPENED: Final = Text(
    "調べている間に他のプロセスがデータベースを開きました。",
    "A process opened the database while it was looked at.",
)
_FINISH: Final = Text(
    "占有するプログラムを閉じ、seikyu actions を実行してください（控えを取り込みます）。その後もう一度調べてください。",
    "Close such a program and run `seikyu actions`, which takes the journal in; then look again.",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a database is, before anything is read of its rows."""

    kind: Literal["sqlite", "postgres"]
    schema: int
    """Number of the last migration it had; 0: none."""
    newest: int
    """… and of the last one we know."""
    server: str = ""
    """PostgreSQL's version."""
    time: datetime | None = None
    """PostgreSQL's clock."""


@dataclass(frozen=True, slots=True)
class Soundness:
    """What a check of the SQLite file found."""

    fault: str | None = None
    """The first thing that is wrong."""
    is_whole: bool = True
    """False: the check was cut short, for the file is large."""


def condition(place: Path | SecretStr) -> Condition | None:
    """Open the database at `place`; None when there is none yet.

    Raises:
        StoreBusy, StoreDamaged, ConfigurationError: as `Store.read`.
    """
    if isinstance(place, SecretStr):
        return _postgres(place)
    path = place.resolve()
    return steadily(path, lambda: _sqlite(path)) if path.exists() else None


def soundness(path: Path, *, seconds: int) -> Soundness:
    """Check the SQLite file for at most `seconds`. Raises as `condition`."""
    there = path.resolve()
    return steadily(there, lambda: _checked(there, seconds))


def steadily(path: Path, look: Callable[[], ResultT]) -> ResultT:
    """Look once more when a process has opened the database meanwhile: until then it was read as nobody else's."""
    was_shared = _is_shared(path)
    try:
        found = look()
    except SeikyuError:
        if was_shared or not _is_shared(path):
            raise
        return look()
    return found if was_shared or not _is_shared(path) else look()


def _sqlite(path: Path) -> Condition:
    with _opened(path) as connection:
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return Condition("sqlite", schema, _newest("sqlite"))


def _checked(path: Path, seconds: int) -> Soundness:
    with _opened(path) as connection:
        until = time.monotonic_ns() + seconds * 10**9
        connection.set_progress_handler(lambda: time.monotonic_ns() > until, _STEPS)
        try:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
                raise
            return Soundness(is_whole=False)
    return Soundness(None if said == "ok" else str(said))


def store_to_look_at(place: Path | SecretStr) -> Store:
    """A store that only reads. A database that is not there, or of another version, is for `condition` to tell."""
    if isinstance(place, SecretStr):
        return Store(_postgres_engine(place))
    return Store(SqliteLook(place))


class SqliteLook:
    """Read-only connections to the file at `path`, one for each look."""

    dialect = SQLITE

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        raise AssertionError("who only looks does not write")
        yield  # makes this a context manager

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection]:
        with _opened(self._path) as connection:
            yield connection

    def clock(self, machine: Clock) -> Clock:
        return machine

    def close(self) -> None:
        pass  # nothing is kept open


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    """A connection in a transaction that has begun to read."""
    was_shared = _is_shared(path)
    try:
        with closing(_begun(path)) as connection:
            yield connection
    except sqlite3.Error as error:
        if not was_shared and _is_shared(path):  # what was read may be of two moments
            raise StoreBusy(_OPENED, AGAIN, written=NOTHING) from error
        raise told(error) from error


def _begun(path: Path) -> sqlite3.Connection:
    """Open and read a first row; again when a process opens or closes it at this very moment."""
    for _ in range(TRIES - 1):
        was_shared = _is_shared(path)
        try:
            return _reading(_connect(path, is_shared=was_shared))
        except StoreBusy:
            pass
        except sqlite3.Error as error:
            if not isinstance(told(error), StoreBusy) and _is_shared(path) == was_shared:
                raise
        time.sleep(PAUSE_S)
    return _reading(_connect(path, is_shared=_is_shared(path)))


def _reading(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_shared(path: Path) -> bool:
    """Whether some process has it open, or had when it was killed. An index without its journal is nobody's."""
    return all(path.with_name(f"{path.name}{end}").exists() for end in ("-wal", "-shm"))


def _connect(path: Path, *, is_shared: bool) -> sqlite3.Connection:
    # with `readonly_shm` the index of the journal is read, not made. Source: sqlite.org/wal.html, "Read-Only
    # Databases", and os_unix.c, read 2026-11-21
    if not is_shared and _size(path.with_name(f"{path.name}-wal")):
        raise StoreBusy(_UNFINISHED, _FINISH, written=NOTHING)
    how = "readonly_shm=1" if is_shared else "immutable=1"
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&{how}", uri=True, timeout=LOCK_S, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _newest(dialect: Literal["sqlite", "postgres"]) -> int:
    return migrations(dialect)[-1][0]


def _postgres_engine(url: SecretStr) -> Any:  # noqa: ANN401 - its module is there with the `postgres` extra only
    try:
        from seikyu.store.postgres import PostgresEngine
    except ImportError as error:
        raise ConfigurationError(
            Text("PostgreSQL のドライバーがありません。", "The driver of PostgreSQL is not installed."),
            Text("seikyu[postgres] をインストールしてください。", "Install seikyu[postgres]."),
        ) from error
    return PostgresEngine(url, may_migrate=False)


def _postgres(url: SecretStr) -> Condition:
    engine = _postgres_engine(url)
    from seikyu.store.postgres_opening import schema_version

    try:
        with engine.read() as connection:
            (now,) = (row["now"] for row in connection.execute("SELECT clock_timestamp() AS now"))
            schema = schema_version(connection)
            version: int = connection.info.server_version
    finally:
        engine.close()
    return Condition("postgres", schema, _newest("postgres"), server=f"{version // 10000}", time=now)
