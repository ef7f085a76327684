"""`python -m simulation.run --seeds N --seed S`: N towns, each from its own seed; a failing one is printed whole."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from simulation.house import House, Rooms, build_house
from simulation.town import Ending, Town

SHOWN_FAILURES: Final = 3
STEPS: Final = 30
_ROOMS: Final = Rooms()


@dataclass
class Report:
    """What a run came to."""

    seeds: int = 0
    turns: int = 0
    virtual_s: int = 0
    states: Counter[str] = field(default_factory=Counter[str])
    failed: list[Ending] = field(default_factory=list[Ending])


@contextmanager
def workshop() -> Generator[tuple[House, Path]]:
    """A prepared database and a folder in memory where there is one; the gate's own log is silent meanwhile."""
    memory = Path("/dev/shm")  # noqa: S108 - nothing in it is worth reading: invented names and amounts
    place = memory if memory.is_dir() else None
    log = logging.getLogger("seikyu")
    before, log.disabled = log.level, False
    log.setLevel(logging.CRITICAL + 1)
    try:
        with tempfile.TemporaryDirectory(prefix="seikyu-simulation-", dir=place) as folder:
            yield build_house(Path(folder)), Path(folder)
    finally:
        log.setLevel(before)


def simulate(
    house: House,
    folder: Path,
    seed: int,
    *,
    steps: int = STEPS,
    rooms: Rooms = _ROOMS,
    troubles: frozenset[str] | None = None,
) -> Ending:
    """One town from its beginning to its end."""
    return Town(seed, house, folder, rooms, steps, troubles).play()


def run(house: House, folder: Path, seeds: range, *, steps: int = STEPS) -> Report:
    report = Report()
    for seed in seeds:
        ending = simulate(house, folder, seed, steps=steps)
        report.seeds += 1
        report.turns += ending.turns
        report.virtual_s += ending.virtual_s
        report.states.update(ending.states)
        if ending.faults:
            report.failed.append(ending)
            _tell(ending, steps, is_whole=len(report.failed) <= SHOWN_FAILURES)
    return report


def _tell(ending: Ending, steps: int, *, is_whole: bool) -> None:
    again = f"PYTHONPATH=tests python -m simulation.run --seeds 1 --seed {ending.seed} --steps {steps}"
    log = [*ending.log, ""] if is_whole else []
    sys.stdout.write("\n".join([*log, f"seed {ending.seed} failed; again with: {again}", *ending.faults, ""]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    with workshop() as (house, folder):
        began = time.monotonic()
        report = run(house, folder, range(asked.seed, asked.seed + asked.seeds), steps=asked.steps)
        took_s = time.monotonic() - began
    sys.stdout.write(f"{dict(sorted(report.states.items()))}\n")
    sys.stdout.write(
        f"{report.seeds} seeds, {report.turns} steps, {report.virtual_s // 86400} days, {len(report.failed)} failed, "
        f"{report.seeds / took_s:.1f} seeds/s, {report.turns / took_s:.0f} steps/s\n"
    )
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
