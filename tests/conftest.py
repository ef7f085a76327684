"""What every test stands on: asyncio, and a network that ends at this machine."""

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr

from postgres import Postgres, serving

Address = tuple[Any, ...] | str | bytes

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
ROOM: Final = 4 * 2**30
"""Bytes. The whole suite writes less than half of it."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the files in memory where there is plenty, and until the end: a disk proves nothing, no test cuts the power.

    To look at them afterwards, say where they are to be: `--basetemp`, or `TMPDIR`.
    """
    is_ours_to_say = config.option.basetemp is None and "TMPDIR" not in os.environ
    if is_ours_to_say and _is_roomy(MEMORY):
        folder = tempfile.mkdtemp(prefix="seikyu-tests-", dir=MEMORY)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        config.add_cleanup(lambda: _leave(folder))


def _leave(folder: str) -> None:
    """As it was before: the same process may run tests once more."""
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.pop("TMPDIR", None)
    tempfile.tempdir = None


def _is_roomy(folder: Path) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    there = os.statvfs(folder)
    may_run = not there.f_flag & getattr(os, "ST_NOEXEC", 0)  # tests write programs and start them
    return may_run and there.f_bavail * there.f_frsize >= ROOM


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Let the sockets of this process reach this machine and nothing else.

    Processes that a test starts are not covered; they get loopback addresses from the test.
    """
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto

    def guarded_connect(self: socket.socket, address: Address, /) -> None:
        _refuse_beyond_loopback(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Address, /) -> int:
        _refuse_beyond_loopback(self, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: bytes, /, *flags_and_address: Any) -> int:
        _refuse_beyond_loopback(self, flags_and_address[-1])
        return sendto(self, data, *flags_and_address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        yield


def _refuse_beyond_loopback(sock: socket.socket, address: Address) -> None:
    if sock.family == getattr(socket, "AF_UNIX", None):
        return
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not _is_loopback(str(address[0])):
        message = f"a test tried to reach {address!r}, but tests stay on this machine: use a twin"
        raise AssertionError(message)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; only this one needs nobody else to say where it leads
        return host == "localhost"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started by the first test that asks for it."""
    with serving() as server:
        yield server


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[SecretStr | None]:
    """Where the state is: nothing for SQLite in the test's folder. Tests marked `both_stores` run on each."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if "both_stores" in marks and "sqlite_only" not in marks and "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[SecretStr]:
    """A PostgreSQL database with Seikyu's tables and nothing in them."""
    with postgres.database() as url:
        yield url
