"""The outbox between processes: one that dies with a notice, two that drain at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from gate.stage import make_stage
from seikyu.store.database import Store

MANY = 40


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def home(tmp_path: Path) -> Generator[Path]:
    yield tmp_path / "home"
    Store(tmp_path / "home" / "seikyu.db").close()


def start(home: Path, mode: str, ledger: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "gate.messenger_program", str(home), mode, str(ledger)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(program, env=env, stdin=subprocess.PIPE, text=True)


def run(home: Path, mode: str, ledger: Path) -> int:
    process = start(home, mode, ledger)
    process.communicate("go\n", timeout=60)
    return process.returncode


def lines(ledger: Path) -> list[str]:
    return ledger.read_text(encoding="utf-8").splitlines()


@pytest.mark.fault("F07")
def test_a_server_killed_between_the_commit_and_the_delivery_is_made_good_by_the_next(home: Path, ledger: Path) -> None:
    died = run(home, "die before delivery", ledger)
    before = ledger.exists()

    ended = run(home, "deliver", ledger)

    assert (died, before, ended) == (-signal.SIGKILL, False, 0)
    [line] = lines(ledger)
    assert line.startswith("log-1 suzuki asks for approval: Register a transaction 100,000円 (act-")
    assert "repeat" not in line


@pytest.mark.fault("F07")
def test_a_server_killed_with_a_notice_in_its_hands_is_followed_by_one_that_says_it_may_be_a_repeat(
    home: Path, ledger: Path
) -> None:
    run(home, "die before delivery", ledger)

    died = run(home, "die in delivery", ledger)
    ended = run(home, "deliver", ledger)

    assert (died, ended) == (-signal.SIGKILL, 0)
    first, second = lines(ledger)
    assert second == f"{first} (This may be a repeat.)"


def test_two_servers_that_drain_together_deliver_each_notice_once(home: Path, ledger: Path) -> None:
    stage = make_stage(home)
    for number in range(MANY):
        stage.propose(f"A-{number}", 100_000 + number, requester=f"r{number}")
    stage.store.close()
    stage.presence.leave()

    servers = [start(home, "deliver", ledger) for _ in range(2)]
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("go\n")
        server.stdin.flush()
    codes = [server.wait(60) for server in servers]
    for server in servers:
        server.communicate()

    assert codes == [0, 0]
    assert sorted(line.split()[0] for line in lines(ledger)) == sorted(f"log-{number + 1}" for number in range(MANY))
