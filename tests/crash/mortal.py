"""A process that dies, by its own kill -9, at one durable step of an action's life; or lives it to the end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import SecretStr

from crash.office import Home, Office, SteppedClock
from crash.upstream import Wire
from seikyu.errors import VoteRefused
from seikyu.gate.actions import Action, State, find
from seikyu.gate.execution import is_settled
from seikyu.store.database import Store, Tx, Value

ROUNDS: Final = 30
ROUND_S: Final = 50
"""Sweeps of one life and the seconds between them: longer than every wait of the gate together."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a process dies: at the first of `steps` it reaches; nowhere when there are none."""

    steps: frozenset[str] = frozenset()

    def meet(self, step: str, wire: Wire) -> None:
        """Die here, if it is time. The parent is told first, so that it can count."""
        if step in self.steps:
            wire.say(tell="died", step=step)
            die()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(3)


@dataclass(frozen=True)
class HeardTx(Tx):
    """Remembers the kinds of the audit rows it writes."""

    kinds: list[str] = field(default_factory=list[str])

    def run(self, name: str, /, **values: Value) -> int:
        changed = super().run(name, **values)
        if name == "append_audit":
            self.kinds.append(str(values["kind"]))
        return changed


class MortalStore(Store):
    """Names each transaction after the last audit row it wrote, and may die on either side of its commit."""

    def __init__(self, place: Path | SecretStr, fate: Fate, wire: Wire) -> None:
        super().__init__(place)
        self._fate = fate
        self._wire = wire

    @contextmanager
    def write(self) -> Generator[Tx]:
        with super().write() as tx:
            heard = HeardTx(tx.connection, tx.dialect)
            yield heard
            self._meet(heard, "before commit")
        self._meet(heard, "after commit")

    def _meet(self, heard: HeardTx, when: str) -> None:
        if heard.kinds:
            self._fate.meet(f"{heard.kinds[-1]} {when}", self._wire)


class MortalWire(Wire):
    """May die when half of a request has left, or after an answer to a look-up has come."""

    fate = Fate()

    def ask(self, **said: Any) -> dict[str, Any]:
        if said["ask"] == "send" and "request halfway" in self.fate.steps:
            self.say(tell="died", step="request halfway")
            line = json.dumps(said).encode()
            self.end.sendall(line[: len(line) // 2])
            die()
        answer = super().ask(**said)
        self.fate.meet(f"{said['ask']} answered", self)
        return answer


@dataclass(frozen=True, slots=True)
class Life:
    """One action, from its proposal to its final state."""

    number: str
    amount: int


async def live(home: Home, life: Life, wire: MortalWire, *, at: datetime, fate: Fate) -> None:
    """Take up the life wherever the dead left it, and lead it to its end."""
    wire.fate = fate
    store = MortalStore(home.settings.store_place, fate, wire)
    office = Office(home, store, SteppedClock(at), wire, lambda step, _action: fate.meet(step, wire))
    action = _vote(office, _refused(office, life) or office.propose(life.number, life.amount))
    for _ in range(ROUNDS):
        await office.executor.sweep()
        action = office.find(action.id)
        if is_settled(action):
            break
        office.clock.advance(seconds=ROUND_S)
    wire.say(tell="ended", at=int(office.clock.now().timestamp()), state=action.state.value)
    office.close()


def _refused(office: Office, life: Life) -> Action | None:
    """The action, if the provider refused it for good: the same call would be a new one."""
    asked = f"SELECT id FROM action WHERE state = 'failed' AND natural_key = '{life.number}'"  # noqa: S608 - our number
    with office.store.read() as tx:
        row = tx.connection.execute(asked).fetchone()
        return None if row is None else find(tx, row["id"])


def _vote(office: Office, action: Action) -> Action:
    for key in office.home.keys:
        if action.state is State.AWAITING:
            with suppress(VoteRefused):  # this one voted before a predecessor died
                action = office.approve(action, key)
    return action
