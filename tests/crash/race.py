"""Everybody at once: `python -m crash.race [--rounds N] [--totals N] [--store sqlite|postgres]`.

Four processes on one home, on the real gate; the parent is the provider and counts what reaches it. First 64
operators' sessions approve the same action, which needs one vote, and each then executes it. Then 32 proposals meet
a day's limit at once. A round begins when every process has said that it is ready, never after a pause.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from pydantic import SecretStr

from crash.family import bear, bury
from crash.office import START, Home, Office, SteppedClock, make_home
from crash.progress import Progress
from crash.upstream import Ledger, Said, Wire
from postgres import STORES, databases
from seikyu.errors import VoteRefused
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.store.database import Store

PROCESSES: Final = 4
APPROVERS: Final = 16
PROPOSERS: Final = 8
"""In each process."""
SILENCE_S: Final = 120
"""A round in which nobody says anything for so long is stuck."""

AMOUNT: Final = 400_000
SHARE: Final = 7_000
LIMIT: Final = 100_000
FITTING: Final = LIMIT // SHARE
REQUESTERS: Final = ("suzuki", "mori")
DAYS: Final = 4
"""From one round to the next: what was asked and not answered is over by then."""

TOTALS: Final = f"""
schema = 1
version = "totals"
operations = ["mfkessai.create_transaction"]
[[deny]]
id = "day-denied"
why = "over the day's limit"
requester = "mori"
daily_total_over = {LIMIT}
[[ask]]
id = "day-asked"
why = "over the day's limit"
daily_total_over = {LIMIT}
[[allow]]
id = "small"
why = "small"
amount_at_most = 50_000
"""

Race: TypeAlias = "Callable[[Path, int, SecretStr | None], Table]"
Seat: TypeAlias = Callable[[Office, Said, int], Awaitable[str]]
"""What one of many does in a round, by its number among all; a word for what came of it."""


async def approve_and_execute(office: Office, said: Said, seat: int) -> str:
    """One session's vote, then its try to send; anything but a refused vote ends the process."""
    action, keys = await office.store.run(lambda: office.find(said["action"])), office.home.keys
    try:
        await office.store.run(lambda: office.approve(action, keys[seat % len(keys)]))
        word = "voted"
    except VoteRefused:
        word = "refused"
    await office.executor.execute(action.id)
    return word


async def ask_for_a_share(office: Office, said: Said, seat: int) -> str:
    """One proposal, for one of two requesters."""
    requester = REQUESTERS[seat % len(REQUESTERS)]
    number = f"A-{said['round']}-{seat}"
    action = await office.store.run(lambda: office.propose(number, SHARE, requester=requester))
    return f"{requester} {action.state.value}"


async def _serve(home: Home, wire: Wire, first: int, seats: int, act: Seat) -> None:
    """Take part in rounds until the parent hangs up."""
    office = Office(home, Store(home.settings.store_place), SteppedClock(), wire)
    while (heard := wire.hear()) is not None:
        for said in heard:
            office.clock.at = START.fromisoformat(said["at"])
            wire.ask(tell="ready")
            words = Counter[str]()

            async def sit(seat: int, said: Said = said, words: Counter[str] = words) -> None:
                words[await act(office, said, seat)] += 1

            async with anyio.create_task_group() as tasks:
                for seat in range(first, first + seats):
                    tasks.start_soon(sit, seat)
            wire.say(tell="done", words=dict(words))
    office.close()


@dataclass
class Table:
    """The parent's view: the processes, the provider, and what went wrong."""

    home: Home
    children: list[tuple[int, Wire]]
    office: Office
    ledger: Ledger = field(default_factory=Ledger)
    faults: list[str] = field(default_factory=list[str])

    def play(self, **said: str | int) -> Counter[str]:
        """One round; how often each word was said."""
        for _, wire in self.children:
            wire.say(at=self.office.clock.now().isoformat(), **said)
        words, ready, done = Counter[str](), 0, 0
        while done < PROCESSES:
            for wire, told in self._heard():
                if "ask" in told:
                    taken = self.ledger.take(told["number"], told["amount"], told["at"], manner="books")
                    wire.say(answer=taken)
                elif told["tell"] == "ready":
                    ready += 1
                    self._begin(ready)
                else:
                    words.update(told["words"])
                    done += 1
        return words

    def _begin(self, ready: int) -> None:
        if ready == PROCESSES:
            for _, wire in self.children:
                wire.say(go=True)

    def _heard(self) -> list[tuple[Wire, Said]]:
        by_end = {wire.end: wire for _, wire in self.children}
        ends, _, _ = select.select(list(by_end), [], [], SILENCE_S)
        heard = [(by_end[end], by_end[end].hear()) for end in ends]
        if not ends or any(said is None for _, said in heard):
            for pid, _ in self.children:
                os.kill(pid, signal.SIGKILL)
            raise SystemExit("a process of the race is stuck or died")
        return [(wire, told) for wire, said in heard for told in said or ()]

    def leave(self) -> None:
        """Hang up, wait for the children, and read the audit."""
        for pid, wire in self.children:
            wire.end.close()
            if (how := bury(pid)) != 0:
                self.faults.append(f"a process ended with {how}")
        fault = audit.verify(self.office.store).fault
        self.faults += [] if fault is None else [f"audit: {fault}"]
        self.office.close()


def lay(home: Home, seats: int, act: Seat) -> Table:
    """Fork the processes, and only then open the parent's own store."""
    children: list[tuple[int, Wire]] = []
    for index in range(PROCESSES):
        inherited = [wire.end for _, wire in children]

        def body(end: socket.socket, index: int = index, inherited: list[socket.socket] = inherited) -> None:
            for other in inherited:
                other.close()  # or the others would never see the parent hang up
            anyio.run(_serve, home, Wire(end), index * seats, seats, act)

        children.append(bear(body))
    nobody = Wire(children[0][1].end)
    return Table(home, children, Office(home, Store(home.settings.store_place), SteppedClock(), nobody))


def race_approvers(folder: Path, rounds: int, database_url: SecretStr | None) -> Table:
    """In each round one action, one vote that counts, one execution."""
    home = make_home(folder, names=("tanaka", "sato", "ito", "kato"), database_url=database_url)
    table, progress = lay(home, APPROVERS, approve_and_execute), Progress(rounds, "rounds")
    for index in range(rounds):
        table.office.clock.advance(seconds=60)
        action = table.office.propose(f"{'AD'[index % 2]}-{index}", AMOUNT)
        words = table.play(action=action.id)
        progress.at(index, len(table.faults))
        table.faults += _unlike_one_execution(table, table.office.find(action.id), words)
    progress.end()
    table.leave()
    return table


def _unlike_one_execution(table: Table, action: Action, words: Counter[str]) -> list[str]:
    number = str(action.natural_key)
    found = (table.ledger.sends[number], table.ledger.effects[number], action.state, words["voted"], words.total())
    if found == (1, 1, State.SUCCEEDED, 1, PROCESSES * APPROVERS):
        return []
    return [f"{number}: sends, effects, state, votes, answers: {found}"]


def race_totals(folder: Path, rounds: int, database_url: SecretStr | None) -> Table:
    """In each round, a day of its own: exactly what fits is allowed, the rest is denied or asked for."""
    home = make_home(folder, TOTALS, names=("tanaka",), database_url=database_url)
    table, progress = lay(home, PROPOSERS, ask_for_a_share), Progress(rounds, "rounds")
    rest = PROCESSES * PROPOSERS // len(REQUESTERS) - FITTING
    right = {
        "suzuki approved": FITTING,
        "suzuki awaiting_approval": rest,
        "mori approved": FITTING,
        "mori denied": rest,
    }
    for index in range(rounds):
        table.office.clock.at += timedelta(days=DAYS)
        table.office.claims.expire()
        words = table.play(round=index)
        progress.at(index, len(table.faults))
        table.faults += [] if words == right else [f"round {index}: {dict(words)}"]
    table.faults += _over_the_limit(table.office.store)
    progress.end()
    table.leave()
    return table


def _over_the_limit(store: Store) -> list[str]:
    with store.read() as tx:
        rows = tx.connection.execute(
            "SELECT requester, jst_day, sum(amount) AS total FROM action"
            " WHERE state = 'approved' GROUP BY requester, jst_day"
        ).fetchall()
    return [f"{row['requester']} on {row['jst_day']}: {row['total']} yen" for row in rows if row["total"] > LIMIT]


def _timed(what: str, rounds: int, race: Race, url: SecretStr | None) -> int:
    with tempfile.TemporaryDirectory(prefix="seikyu-race-") as folder:
        began = time.monotonic()
        table = race(Path(folder) / "home", rounds, url)
        took_s = time.monotonic() - began
    for line in table.faults:
        sys.stdout.write(f"{line}\n")
    sends = table.ledger.sends.total()
    sys.stdout.write(
        f"{rounds} rounds of {what}, {sends} executions, {len(table.faults)} faults, {rounds / took_s:.1f} rounds/s\n"
    )
    return len(table.faults)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--totals", type=int, default=200)
    parser.add_argument("--store", choices=STORES, default="sqlite")
    asked = parser.parse_args()
    with databases(asked.store, 2) as (first, second):
        faults = _timed(f"{PROCESSES * APPROVERS} approvers", asked.rounds, race_approvers, first)
        faults += _timed(f"{PROCESSES * PROPOSERS} proposals at the limit", asked.totals, race_totals, second)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
