"""Short runs of what `make crash` and `make race` do at length; in processes of their own, because they fork."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crash.kills import BLOWS
from crash.upstream import Ledger

TESTS = Path(__file__).resolve().parent.parent


def run(module: str, *arguments: str) -> str:
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.fault("F03", "F04", "F05", "F06")
def test_kill_9_on_postgres_never_books_twice_either() -> None:
    said = run("crash.kills", "--kills", "30", "--seed", "2", "--store", "postgres")

    assert re.search(r"^3\d kills, 0 duplicates, 0 wrong states, [\d.]+ kills/s$", said, re.MULTILINE)


def test_on_postgres_64_approvers_execute_once_and_32_proposals_never_pass_the_days_limit() -> None:
    said = run("crash.race", "--rounds", "2", "--totals", "1", "--store", "postgres")

    assert "2 rounds of 64 approvers, 2 executions, 0 faults" in said
    assert "1 rounds of 32 proposals at the limit, 0 executions, 0 faults" in said


def test_kill_9_at_every_step_never_books_twice_and_every_action_ends_as_the_provider_has_it() -> None:
    said = run("crash.kills", "--kills", "150", "--seed", "1")

    assert re.search(r"^15\d kills, 0 duplicates, 0 wrong states, [\d.]+ kills/s$", said, re.MULTILINE)
    assert [blow.name for blow in BLOWS if f'"{blow.name}"' not in said] == []


@pytest.mark.fault("F16", "F51")
def test_64_approvers_execute_once_and_32_proposals_never_pass_the_days_limit() -> None:
    said = run("crash.race", "--rounds", "5", "--totals", "2")

    assert "5 rounds of 64 approvers, 5 executions, 0 faults" in said
    assert "2 rounds of 32 proposals at the limit, 0 executions, 0 faults" in said


def test_the_ledger_tells_a_second_request_that_no_look_up_allowed() -> None:
    ledger = Ledger()

    ledger.take("A-1", 5, 0, manner="never")
    ledger.show("A-1", 60)
    ledger.take("A-1", 5, 61, manner="books")
    allowed = ledger.duplicates
    ledger.take("A-1", 5, 62, manner="books")
    ledger.take("D-1", 5, 0, manner="books")
    ledger.take("D-1", 5, 1, manner="books")

    assert allowed == []
    assert ledger.duplicates == ["D-1", "A-1", "D-1"]
    assert ledger.effects == {"A-1": 1, "D-1": 2}
