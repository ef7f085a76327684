"""kill -9 at every durable step: `python -m crash.kills [--kills N] [--seed N] [--store sqlite|postgres]`.

A life is one action. Children lead it from its proposal to its final state, each on the real gate over one home and
its database, and each but the last is killed at a drawn step. The provider lives in the parent and counts its effects
by itself; in the end every action's state is held against that count. Everything is drawn from the seed, except where
exactly a child stands when it is killed at a moment.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import anyio.lowlevel
from pydantic import SecretStr

from crash.family import bear, bury
from crash.mortal import Fate, Life, MortalWire, live
from crash.office import START, Home, Office, SteppedClock, make_home
from crash.progress import Progress
from crash.upstream import Ledger, Manner, Said, Wire
from postgres import STORES, databases
from seikyu.gate import audit
from seikyu.gate.reconciliation import MAX_EPOCHS
from seikyu.spec import Done
from seikyu.store.database import Row, Store

WORLDS: Final = 2
"""Homes worked on side by side, one a core."""
SILENCE_S: Final = 60
"""A child that says nothing for so long is stuck."""
START_S: Final = 60
KILL_S: Final = 1
"""The whole run may take so long, and so much more for each kill."""
MOMENT_US: Final = 25_000
"""A child killed at a moment is killed within so long."""

MANNERS: Final[Sequence[Manner]] = ("books", "books", "books", "books", "lost", "never", "late", "refuses")
AMOUNTS: Final = (40_000, 400_000, 4_000_000)


@dataclass(frozen=True, slots=True)
class Blow:
    """How a child is killed: by itself at one of `steps`, by the parent instead of an answer, or at a moment."""

    name: str
    steps: frozenset[str] = frozenset()
    unanswered: str = ""
    after_us: int | None = None


def _around(name: str, *kinds: str) -> list[Blow]:
    """Before and after the commit of the transaction that wrote one of `kinds`."""
    return [Blow(f"{name} {when}", frozenset(f"{kind} {when}" for kind in kinds)) for when in WHEN]


WHEN: Final = ("before commit", "after commit")
NO_BLOW: Final = Blow("none")
PROPOSING: Final = _around("proposed", "proposed")
VOTING: Final = _around("voted", "voted", "approved")
SENDING: Final = [
    *_around("claimed", "claimed"),
    Blow("request halfway", frozenset({"request halfway"})),
    Blow("effect, no answer", unanswered="send"),
    Blow("answered", frozenset({"answered"})),
    *_around("finished", "succeeded", "refused", "outcome_unknown"),
]
LOOKING: Final = [
    *_around("abandoned", "abandoned"),
    Blow("look-up unanswered", unanswered="show"),
    Blow("look-up answered", frozenset({"show answered"})),
    *_around("concluded", "looked_up", "succeeded", "proven_absent", "needs_person"),
]
BLOWS: Final = [*PROPOSING, *VOTING, *SENDING, *LOOKING]


@dataclass(frozen=True, slots=True)
class Course:
    """What is drawn for one life."""

    life: Life
    manner: Manner
    delay_s: int
    blows: list[Blow]


@dataclass
class Report:
    """What one world saw."""

    kills: int = 0
    lives: int = 0
    duplicates: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    steps: dict[str, int] = field(default_factory=dict[str, int])
    states: dict[str, int] = field(default_factory=dict[str, int])


def draw(random: Random, index: int) -> Course:
    """One life: early blows sometimes, then sending and looking up in turns, some at any moment."""
    amount, letter = random.choice(AMOUNTS), random.choice("AAD")
    blows = [random.choice(PROPOSING)] if random.random() < 0.4 else []
    if amount > AMOUNTS[0] and random.random() < 0.6:
        blows.append(random.choice(VOTING))
    for _ in range(random.choice((1, 1, 2, 3))):
        blows += [random.choice(SENDING), random.choice(LOOKING)]
    if random.random() < 0.4:
        moment = Blow("any moment", after_us=random.randrange(MOMENT_US))
        blows.insert(random.randrange(len(blows) + 1), moment)
    delay_s = random.choice((1, 20, 90, 600))
    return Course(Life(f"{letter}-{index}", amount), random.choice(MANNERS), delay_s, blows)


class World:
    """One home, its provider, and the lives that are led there one after the other."""

    def __init__(self, folder: Path, seed: str, kills: int, *, database_url: SecretStr | None) -> None:
        self._random = Random(seed)  # noqa: S311 - has to be the same again from the same seed
        self._seed = seed
        self._kills = kills
        self._home = make_home(folder, database_url=database_url)
        self._ledger = Ledger()
        self._at = START
        self._report = Report()
        self._steps = Counter[str]()
        self._courses: dict[str, Course] = {}
        self._deaths: dict[str, list[str]] = {}

    def run(self, until: float, told: Callable[[int, int], None]) -> Report:
        """Lives until there were enough kills, or `until` (monotonic s); then the reckoning.

        `told` hears after each life of the kills and of what was wrong so far.
        """
        _warm_up(self._home)
        while self._report.kills < self._kills and not self._report.wrong:
            if time.monotonic() > until:
                self._report.wrong.append(f"seed {self._seed}: out of time")
            self._lead(draw(self._random, self._report.lives))
            told(self._report.kills, len(self._report.wrong) + len(self._ledger.duplicates))
        self._reckon()
        self._report.steps = dict(self._steps)
        return self._report

    def _lead(self, course: Course) -> None:
        number = course.life.number
        self._courses[number], self._deaths[number] = course, []
        self._report.lives += 1
        for blow in [*course.blows, NO_BLOW]:
            if self._child(course, blow):
                return
        self._report.wrong.append(self._told(number, "never came to an end"))

    def _child(self, course: Course, blow: Blow) -> bool:
        """Whether the life came to its end in this child."""
        self._at += timedelta(seconds=self._random.randint(30, 600))
        at, home = self._at, self._home

        def body(end: socket.socket) -> None:
            anyio.run(_live, home, course.life, MortalWire(end), at.isoformat(), blow.steps)

        pid, wire = bear(body)
        before = len(self._deaths[course.life.number])
        has_ended = self._attend(pid, wire, course, blow)
        how = bury(pid)
        wire.end.close()
        if how == -signal.SIGKILL:
            self._count(course.life.number, blow, before)
        elif how != 0 or not has_ended:
            self._report.wrong.append(self._told(course.life.number, f"a child ended with {how}"))
        return has_ended

    def _count(self, number: str, blow: Blow, before: int) -> None:
        self._report.kills += 1
        self._steps[blow.name] += 1
        if len(self._deaths[number]) == before:
            self._deaths[number].append(blow.name)

    def _attend(self, pid: int, wire: Wire, course: Course, blow: Blow) -> bool:
        """Be the provider for a child until it is gone; whether it said that the life has ended."""
        has_ended, moment = False, blow.after_us
        while True:
            wait_s = SILENCE_S if moment is None else moment / 1_000_000
            if not select.select([wire.end], [], [], wait_s)[0]:
                moment = None
                os.kill(pid, signal.SIGKILL)
            heard = wire.hear()
            if heard is None:
                return has_ended
            for said in heard:
                has_ended |= said.get("tell") == "ended"
                self._answer(pid, wire, said, course=course, blow=blow)

    def _answer(self, pid: int, wire: Wire, said: Said, *, course: Course, blow: Blow) -> None:
        if said.get("tell") == "died":
            self._deaths[course.life.number].append(said["step"])
        if "at" in said:
            self._at = max(self._at, START + timedelta(seconds=said["at"] - int(START.timestamp())))
        if "ask" not in said:
            return
        answer = self._provide(said, course)
        if said["ask"] == blow.unanswered:
            os.kill(pid, signal.SIGKILL)
            return
        with suppress(BrokenPipeError):  # it was killed at a moment, after it asked
            wire.say(**answer)

    def _provide(self, said: Said, course: Course) -> Said:
        number = said["number"]
        if said["ask"] == "show":
            return {"amount": self._ledger.show(number, said["at"])}
        is_first = not self._ledger.sends[number]
        manner = course.manner if is_first or course.manner == "refuses" else "books"
        taken = self._ledger.take(number, said["amount"], said["at"], manner=manner, delay_s=course.delay_s)
        return {"answer": taken}

    def _reckon(self) -> None:
        """Hold what the gate says against what the provider did."""
        self._ledger.land()
        rows = {row["natural_key"]: row for row in _rows(self._home)}
        for number in self._courses:
            fault = self._fault(number, rows.get(number))
            if fault:
                self._report.wrong.append(self._told(number, fault))
        self._report.duplicates = [self._told(number, "sent or booked twice") for number in self._ledger.duplicates]
        self._report.states = dict(Counter(row["state"] for row in rows.values()))
        self._check_audit()

    def _check_audit(self) -> None:
        store = Store(self._home.settings.store_place)
        found = audit.verify(store)
        store.close()
        if found.fault is not None:
            self._report.wrong.append(f"seed {self._seed}: audit: {found.fault}")

    def _fault(self, number: str, row: Row | None) -> str | None:
        effects = self._ledger.effects[number]
        state = "missing" if row is None else str(row["state"])
        epoch = 0 if row is None else int(row["epoch"])
        if (state, effects) in self._right(number, epoch):
            return None
        return f"{state} at epoch {epoch} with {effects} effects"

    def _right(self, number: str, epoch: int) -> set[tuple[str, int]]:
        """The final states, each with the effects at the provider, that are right for this course."""
        course, is_disturbed = self._courses[number], bool(self._deaths[number])
        doubt = {("manual_review", 0), ("manual_review", 1)}
        if course.manner == "refuses":
            return {("failed", 0)} | ({("manual_review", 0)} if is_disturbed else set())
        if number.startswith("A"):
            return {("succeeded", 1)} | (doubt if epoch >= MAX_EPOCHS else set())
        if course.manner != "books":
            return doubt
        return {("succeeded", 1)} | (doubt if is_disturbed else set())

    def _told(self, number: str, fault: str) -> str:
        course = self._courses[number]
        died = ", ".join(self._deaths[number]) or "nowhere"
        return f"seed {self._seed}: {number} ({course.manner}): {fault}; died at: {died}"


async def _live(home: Home, life: Life, wire: MortalWire, at: str, steps: frozenset[str]) -> None:
    await live(home, life, wire, at=START.fromisoformat(at), fate=Fate(steps))


def _rows(home: Home) -> list[Row]:
    with closing(Store(home.settings.store_place)) as store, store.read() as tx:
        rows: list[Row] = tx.connection.execute("SELECT natural_key, state, epoch FROM action").fetchall()
        return rows


def _warm_up(home: Home) -> None:
    """Do everything once, so that a child finds each module and query loaded; nothing stays open."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        office = Office(home, Store(home.settings.store_place), SteppedClock(), Wire(ours))
        action = office.propose("A-warm", AMOUNTS[0])
        claim = office.claims.take(action.id)
        if claim is not None:
            office.claims.finish(claim, Done("tx-A-warm"))
        office.close()
    anyio.run(anyio.lowlevel.checkpoint)
    gc.freeze()  # children that collect nothing copy nothing


def _side_by_side(folder: Path, seed: int, kills: int, urls: Sequence[SecretStr | None]) -> list[Report]:
    """A world on each core, in processes of their own."""
    until = time.monotonic() + START_S + kills * KILL_S

    def begin(index: int) -> tuple[int, Wire]:
        def body(end: socket.socket) -> None:
            share = -(-kills // WORLDS)
            world = World(folder / str(index), f"{seed}/{index}", share, database_url=urls[index])
            wire = Wire(end)
            report = world.run(until, lambda killed, wrong: wire.say(killed=killed, wrong=wrong))
            wire.say(report=asdict(report))

        return bear(body)

    return _reported([begin(index) for index in range(WORLDS)], Progress(kills, "kills"))


def _reported(worlds: Sequence[tuple[int, Wire]], progress: Progress) -> list[Report]:
    """What each world reports, and the progress of all of them meanwhile."""
    last: list[Said] = [{} for _ in worlds]
    left = {wire.end: index for index, (_, wire) in enumerate(worlds)}
    while left:
        for end in select.select(list(left), [], [])[0]:
            index = left[end]
            heard = worlds[index][1].hear()
            if heard is None:
                del left[end]
            last[index] |= heard[-1] if heard else {}
        progress.at(*(sum(int(said.get(name, 0)) for said in last) for name in ("killed", "wrong")))
    progress.end()
    return [_report(pid, wire, said) for (pid, wire), said in zip(worlds, last, strict=True)]


def _report(pid: int, wire: Wire, said: Said) -> Report:
    wire.end.close()
    how = bury(pid)
    return Report(**said["report"]) if "report" in said else Report(wrong=[f"a world ended with {how}"])


def _print(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=STORES, default="sqlite")
    asked = parser.parse_args()
    with databases(asked.store, WORLDS) as urls, tempfile.TemporaryDirectory(prefix="seikyu-crash-") as folder:
        began = time.monotonic()
        reports = _side_by_side(Path(folder), asked.seed, asked.kills, urls)
        took_s = time.monotonic() - began
    return _close(reports, asked.seed, took_s)


def _close(reports: list[Report], seed: int, took_s: float) -> int:
    steps, states = Counter[str](), Counter[str]()
    for report in reports:
        steps.update(report.steps)
        states.update(report.states)
    _print({"seed": seed, "steps": dict(sorted(steps.items())), "states": dict(sorted(states.items()))})
    duplicates = [line for report in reports for line in report.duplicates]
    wrong = [line for report in reports for line in report.wrong]
    for line in duplicates + wrong:
        sys.stdout.write(f"{line}\n")
    kills = sum(report.kills for report in reports)
    sys.stdout.write(
        f"{kills} kills, {len(duplicates)} duplicates, {len(wrong)} wrong states, {kills / took_s:.1f} kills/s\n"
    )
    return 1 if duplicates or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
