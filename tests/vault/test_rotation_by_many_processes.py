import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import pytest
from pydantic import SecretStr

from seikyu.models import SystemClock
from seikyu.store.database import Store
from seikyu.store.presence import Presence
from seikyu.vault.rotation import Rotated
from vault.fakes import CLIENT_ID, CLIENT_SECRET, FREEE, SetClock, StrictServer
from vault.rotating import House


class Served(TypedDict):
    served: int
    faults: list[str]


ROTATOR = Path(__file__).with_name("rotator.py")
SERVING = Path(__file__).with_name("serving.py")
PROCESSES = 4
ROTATIONS = 20


@pytest.mark.fault("F49")
def test_a_run_that_is_killed_at_any_step_loses_nothing_and_is_taken_up_again(
    home: Path, store: Store, clock: SetClock, presence: Presence
) -> None:
    house = House(home, store, clock, presence).fill()
    fingerprint = house.fingerprint()
    store.close()
    done = subprocess.run(
        [sys.executable, ROTATOR, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=100,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [line["ended"] for line in lines if "ended" in line]

    assert {line["found"] for line in lines if "found" in line} == {fingerprint}
    assert [line["others"] for line in lines if "others" in line] == [[0, 0, 0]] * len(ends)
    assert sorted(set(ends)) == [0, 9]
    assert len(ends) >= 20
    assert lines[-2]["keys"] == 1


@pytest.fixture
def served(home: Path, server: StrictServer, database_url: SecretStr | None) -> Iterator[Callable[[], list[Served]]]:
    """Starts our processes; ends them when it is called, and says what came of each."""
    url = "" if database_url is None else database_url.get_secret_value()
    started: list[subprocess.Popen[str]] = []

    def end() -> list[Served]:
        if not started:
            started.extend(_start(home, server.port, url) for _ in range(PROCESSES))
            for process in started:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            return []
        return [json.loads(process.communicate("\n", timeout=60)[0]) for process in started]

    yield end
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _start(home: Path, port: int, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SERVING, str(home), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "STORE": url},
    )


@pytest.mark.both_stores
def test_twenty_rotations_under_four_processes_cost_no_request_and_no_login(
    home: Path, store: Store, presence: Presence, server: StrictServer, served: Callable[[], list[Served]]
) -> None:
    server.life_s = 1
    house = House(home, store, store.clock(SystemClock()), presence, is_patient=True).fill()
    house.vault().put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=server.login())
    served()
    is_renewed = threading.Event()
    server.after = is_renewed.set
    done: list[Rotated] = []
    for number in range(ROTATIONS):
        if number % 3 == 0:  # so that renewals come before, during and after
            is_renewed.clear()
            assert is_renewed.wait(20)
        done.append(house.rotate())
        if number % 5 == 4:
            house.drop()
    results = served()

    assert [each["faults"] for each in results] == [[]] * PROCESSES
    assert all(each["served"] > ROTATIONS for each in results)
    assert [(each.is_new, each.left) for each in done] == [(True, [])] * ROTATIONS
    assert (server.reuses, server.is_family_dead) == (0, False)
    assert server.requests > ROTATIONS // 3
    assert house.vault().grant(FREEE).generation == server.requests + 2
