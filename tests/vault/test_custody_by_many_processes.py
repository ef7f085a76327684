import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from seikyu.errors import LoginRequired
from seikyu.store.database import Store
from seikyu.store.presence import Presence
from seikyu.vault.keys import create_key_file, read_key_ring
from seikyu.vault.secrets import GrantState, Vault
from seikyu.vault.tokens import TokenCustodian
from vault.fakes import CLIENT_ID, CLIENT_SECRET, FREEE, LIFE_S, Dropped, HttpRefresh, SetClock, StrictServer

PROCESSES = 8
EXPIRIES = 10
WORKER = Path(__file__).with_name("worker.py")
Start = Callable[[], "Worker"]


class Worker:
    """One of our processes, for real."""

    def __init__(self, home: Path, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, WORKER, str(home), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def wait_ready(self) -> None:
        assert self._line() == "ready\n"

    def set_clock(self, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def said(self) -> list[str]:
        answer: list[str] = json.loads(self._line())
        return answer

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.communicate("", timeout=10)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.fixture
def vault(home: Path, store: Store, clock: SetClock, server: StrictServer) -> Vault:
    """With a real key file, and connected."""
    create_key_file(home)
    vault = Vault(store, clock, lambda: read_key_ring(home, {}))
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=server.login())
    return vault


@pytest.fixture
def start(home: Path, server: StrictServer) -> Iterator[Start]:
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker(home, server.port))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


@pytest.fixture
def survivor(vault: Vault, clock: SetClock, presence: Presence, server: StrictServer) -> TokenCustodian:
    """The next process that needs a token: this one."""
    return TokenCustodian(vault, clock, presence, HttpRefresh(server.port))


@pytest.mark.fault("F42")
def test_eight_processes_make_one_request_for_each_expiry_and_keep_the_grant(
    vault: Vault, server: StrictServer, start: Start
) -> None:
    workers = [start() for _ in range(PROCESSES)]
    for worker in workers:
        worker.wait_ready()
    rounds: list[set[str]] = []
    for expiry in range(1, EXPIRIES + 1):
        for worker in workers:
            worker.set_clock(expiry * LIFE_S)
        rounds.append({token for worker in workers for token in worker.said()})

    assert rounds == [{f"access-{expiry}"} for expiry in range(1, EXPIRIES + 1)]
    assert (server.requests, server.reuses, server.is_family_dead) == (EXPIRIES, 0, False)
    assert vault.grant(FREEE).generation == EXPIRIES + 1
    assert vault.state(FREEE) == "ready"


def test_eight_processes_renew_early_without_making_anybody_wait(
    vault: Vault, server: StrictServer, start: Start
) -> None:
    workers = [start() for _ in range(PROCESSES)]
    for worker in workers:
        worker.wait_ready()
    for worker in workers:
        worker.set_clock(LIFE_S * 0.8)
    said = {token for worker in workers for token in worker.said()}

    assert said <= {"access-0", "access-1"}
    assert (server.requests, server.reuses) == (1, 0)
    assert vault.grant(FREEE).secret.access_token.get_secret_value() == "access-1"


@pytest.mark.fault("F47")
async def test_a_kill_before_the_provider_acted_costs_nothing(
    clock: SetClock, vault: Vault, server: StrictServer, start: Start, survivor: TokenCustodian
) -> None:
    dropped = threading.Event()

    def drop() -> None:
        _kill_during(worker, dropped)
        server.before = _nothing
        raise Dropped

    server.before = drop
    worker = start()
    worker.wait_ready()
    worker.set_clock(LIFE_S)
    assert dropped.wait(10)
    clock.advance(LIFE_S)

    assert vault.grant(FREEE).state is GrantState.REFRESHING
    assert (await survivor.access_token(FREEE)).get_secret_value() == "access-1"
    assert (server.requests, server.reuses) == (1, 0)


@pytest.mark.fault("F44")
async def test_a_kill_between_the_answer_and_the_commit_is_told_within_a_second_and_tried_once(
    clock: SetClock, vault: Vault, server: StrictServer, start: Start, survivor: TokenCustodian
) -> None:
    _kill_after_rotation(server, start, at_s=LIFE_S)
    clock.advance(LIFE_S)
    begun_at = time.monotonic()
    for _ in range(3):
        with pytest.raises(LoginRequired):
            await survivor.access_token(FREEE)

    assert time.monotonic() - begun_at < 1
    assert server.requests == 2
    assert vault.state(FREEE) == "needs_login"


async def test_a_kill_during_an_early_renewal_leaves_the_old_token_in_service(
    clock: SetClock, vault: Vault, server: StrictServer, start: Start, survivor: TokenCustodian
) -> None:
    _kill_after_rotation(server, start, at_s=LIFE_S * 0.8)
    clock.advance(LIFE_S * 0.8)
    begun_at = time.monotonic()
    served = [(await survivor.access_token(FREEE)).get_secret_value() for _ in range(2)]

    assert served == ["access-0", "access-0"]
    assert time.monotonic() - begun_at < 1
    assert vault.state(FREEE) == "refresh_unknown"
    assert (server.requests, server.is_family_dead) == (1, False)


def test_no_file_of_the_home_holds_a_token_after_many_renewals(home: Path, vault: Vault, start: Start) -> None:
    worker = start()
    worker.wait_ready()
    for expiry in range(1, 4):
        worker.set_clock(expiry * LIFE_S)
        worker.said()
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())

    assert vault.state(FREEE) == "ready"
    assert b"freee-tokyo" in everything
    for number in range(4):
        assert f"access-{number}".encode() not in everything
        assert f"refresh-{number}".encode() not in everything
    assert CLIENT_SECRET.encode() not in everything


def _nothing() -> None:
    pass


def _kill_during(worker: Worker, done: threading.Event) -> None:
    worker.kill()
    done.set()


def _kill_after_rotation(server: StrictServer, start: Start, *, at_s: float) -> None:
    """The provider has rotated, its answer is on the way, and who asked is dead."""
    done = threading.Event()
    worker = start()

    def kill() -> None:
        server.after = _nothing
        _kill_during(worker, done)

    server.after = kill
    worker.wait_ready()
    worker.set_clock(at_s)
    assert done.wait(10)
