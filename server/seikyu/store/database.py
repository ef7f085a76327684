"""The database as the rooms above see it: short transactions over named statements, the same on both engines."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from pydantic import SecretStr

from seikyu.errors import NOTHING, CommitUnknown, ConfigurationError, InvalidArguments, SeikyuError, StoreBusy, Text
from seikyu.models import Clock

Value: TypeAlias = str | int | None
Row: TypeAlias = Mapping[str, Any]
"""One row; the rooms above give it a type before they use it."""

ResultT = TypeVar("ResultT")

BUSY_TIMEOUT_S: Final = 30
LOCKED: Final = Text("データベースが使用中のため処理できませんでした。", "The database stayed locked for 30 s.")
NO_VALUE: Final = Text("保存できない文字か数があります。", "A character or a number cannot be stored.")
MAKE_ROOM: Final = Text(
    "空き容量と書き込み権限を確かめてください（`seikyu doctor`）。",
    "Make room, or see that it may be written: `seikyu doctor` tells which.",
)
AGAIN: Final = Text("しばらくしてからもう一度試してください。", "Try again in a moment.")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the engines once a transaction has begun."""

    name: Literal["sqlite", "postgres"]
    driver: str | Callable[..., Any]
    """aiosql's own adapter by its name, or ours."""
    error: type[Exception]
    """The root of the driver's errors …"""
    told: Callable[[Any], SeikyuError]
    """… and what one of them means for the caller."""


@cache
def _queries(driver: str | Callable[..., Any]) -> Any:  # noqa: ANN401 - aiosql builds its functions at run time; `Tx` gives them types
    # imported late, for a server that only lists its tools needs no database; by name, for its types are partial
    aiosql: Any = importlib.import_module("aiosql")
    return aiosql.from_path(Path(str(files("seikyu.store") / "queries")), driver, mandatory_parameters=False)


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction in progress. Statements are named in `queries/`, in SQL that both engines understand.

    Every statement may raise what `Store.write` raises, `Taken`, and `InvalidArguments` for what no column can hold;
    then the transaction is to be given up.
    """

    connection: Any
    """The driver's own."""
    dialect: Dialect

    def one(self, name: str, /, **values: Value) -> Row | None:
        """The only row of a statement marked `^`."""
        row = self._do(name, values)
        return None if row is None else dict(row)

    def all(self, name: str, /, **values: Value) -> list[Row]:
        """Every row of a statement without a mark."""
        return [dict(row) for row in self._do(name, values, list)]

    def run(self, name: str, /, **values: Value) -> int:
        """Run a statement marked `!`; how many rows it changed."""
        return int(self._do(name, values))

    def _do(self, name: str, values: Mapping[str, Value], whole: Callable[[Any], Any] = lambda found: found) -> Any:  # noqa: ANN401 - rows
        # a truth value is 0 or 1 in our tables
        plain = {key: int(value) if isinstance(value, bool) else value for key, value in values.items()}
        try:
            return whole(getattr(_queries(self.dialect.driver), name)(self.connection, **plain))
        except self.dialect.error as error:
            raise self.dialect.told(error) from error
        except (UnicodeEncodeError, OverflowError) as error:  # half a character, a number beyond 64 bits
            raise InvalidArguments(NO_VALUE) from error


class Engine(Protocol):
    """One kind of database. Its errors are ours when they leave it."""

    @property
    def dialect(self) -> Dialect: ...

    def write(self) -> AbstractContextManager[Any]:
        """A connection in a transaction that holds the lock of all writers; durable when it ends."""
        ...

    def read(self) -> AbstractContextManager[Any]:
        """A connection in a transaction that sees one state."""
        ...

    def clock(self, machine: Clock) -> Clock:
        """The clock all processes on this database share: its own, or `machine` where there is one machine."""
        ...

    def close(self) -> None:
        """Close every idle connection."""
        ...


class Store:
    """The database of one installation, shared by all its processes: a SQLite file, or PostgreSQL at an address."""

    def __init__(self, place: Path | SecretStr | Engine) -> None:
        """`place` may be an engine of the caller's, such as one that only looks (`store.looking`)."""
        self._engine = _engine(place)
        self._turn = threading.Lock()

    @contextmanager
    def write(self) -> Generator[Tx]:
        """A transaction that holds the lock of all writers from its first statement and is durable when it ends.

        Raises:
            StoreBusy: another process held the lock for 30 s, the database is out of reach or full; nothing was
                changed.
            CommitUnknown: the connection was lost during the commit; look before anything is done because of it.
            StoreDamaged: the database is not sound, or was made by a newer version.
            ConfigurationError: the database does not keep what it commits, or may not be used.
        """
        with self._in_turn(), self._engine.write() as connection:
            yield Tx(connection, self._engine.dialect)

    @contextmanager
    def read(self) -> Generator[Tx]:
        """A transaction that sees one state of the database. Raises as `write`, but for `CommitUnknown`."""
        with self._engine.read() as connection:
            yield Tx(connection, self._engine.dialect)

    def sure(self, work: Callable[[], ResultT], look: Callable[[], ResultT]) -> ResultT:
        """Do `work`; after a commit without an answer, `look` says what came of it.

        `look` asks in a transaction that writes: a commit that is still under way holds the writers' lock, so what
        is seen then is final.

        Raises:
            CommitUnknown: `look` could not ask either; nothing may follow from the change.
        """
        try:
            return work()
        except CommitUnknown as unsure:
            try:
                return look()
            except StoreBusy as error:
                raise unsure from error

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Do `work` (which opens its own transaction) in a thread, so that the event loop goes on.

        Not cancelled half-way: a transaction that began ends before the caller learns of its cancellation.
        """
        import anyio.to_thread

        return await anyio.to_thread.run_sync(work)

    def clock(self, machine: Clock) -> Clock:
        """The clock by which leases and requests end: `machine` for SQLite, the database's own on PostgreSQL.

        Replicas whose machines disagree about the time would otherwise take over what another is still sending.
        """
        return self._engine.clock(machine)

    def close(self) -> None:
        """Close every idle connection; a later use opens them again."""
        self._engine.close()

    @contextmanager
    def _in_turn(self) -> Generator[None]:
        """The writers of one process queue here: at the database they would poll, or take up every connection."""
        if not self._turn.acquire(timeout=BUSY_TIMEOUT_S):
            raise StoreBusy(LOCKED, AGAIN, written=NOTHING)
        try:
            yield
        finally:
            self._turn.release()


def _engine(place: Path | SecretStr | Engine) -> Engine:
    if isinstance(place, Path):
        from seikyu.store.sqlite import SqliteEngine

        return SqliteEngine(place)
    if not isinstance(place, SecretStr):
        return place
    try:
        from seikyu.store.postgres import PostgresEngine
    except ImportError as error:
        raise ConfigurationError(
            Text("PostgreSQL のドライバーがありません。", "The driver of PostgreSQL is not installed."),
            Text("seikyu[postgres] をインストールしてください。", "Install seikyu[postgres]."),
        ) from error
    return PostgresEngine(place)
