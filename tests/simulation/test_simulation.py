"""Short runs of what `make simulate` does at length; and a gate with a fault, which the oracle must find."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from simulation.bugs import BUGS
from simulation.house import House
from simulation.run import simulate, workshop

TESTS = Path(__file__).resolve().parent.parent
SHORT = 100
ENOUGH = 120
"""Seeds within which every planted fault shows."""


@pytest.fixture(scope="module")
def works() -> Generator[tuple[House, Path]]:
    with workshop() as made:
        yield made


def test_nothing_that_goes_wrong_makes_the_gate_act_twice_or_lie(works: tuple[House, Path]) -> None:
    endings = [simulate(*works, seed) for seed in range(1, SHORT + 1)]

    assert [(ending.seed, ending.faults) for ending in endings if ending.faults] == []
    states = {state for ending in endings for state in ending.states}
    assert states >= {"succeeded", "failed", "denied", "expired", "withdrawn"}
    said = " ".join(line for ending in endings for line in ending.log)
    assert said.count(" edited") >= SHORT // 5
    assert said.count(" approved for ") >= SHORT // 20


@pytest.mark.parametrize("seed", [3, 14])
def test_a_seed_gives_the_same_events_in_every_process(works: tuple[House, Path], seed: int) -> None:
    script = (
        "from simulation.run import workshop, simulate\n"
        f"with workshop() as works: print(simulate(*works, {seed}).digest)"
    )
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    here = simulate(*works, seed)

    assert [here.digest, here.digest] == [simulate(*works, seed).digest, elsewhere.strip()]
    assert len(here.log) > 1


@pytest.mark.parametrize("name", BUGS)
def test_a_fault_planted_in_the_gate_is_found(
    works: tuple[House, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bug = BUGS[name]
    for place, word, instead in bug.holes:
        monkeypatch.setattr(place, word, instead)

    found = any(
        bug.words in fault
        for seed in range(1, ENOUGH + 1)
        for fault in simulate(*works, seed, rooms=bug.rooms, troubles=bug.troubles).faults
    )

    assert found


def test_a_failing_seed_fails_again_in_the_same_way(works: tuple[House, Path]) -> None:
    bug = BUGS["expiry approves"]
    ending = next(
        ending
        for seed in range(1, ENOUGH)
        if (ending := simulate(*works, seed, rooms=bug.rooms, troubles=bug.troubles)).faults
    )

    again = simulate(*works, ending.seed, rooms=bug.rooms, troubles=bug.troubles)

    assert (again.faults, again.log) == (ending.faults, ending.log)
