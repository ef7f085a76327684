"""Events: what a provider told us by itself. Kept once, and each a reason to ask the provider; never believed.

An event names one of our actions by the provider's reference or by our number. What it says happened is not read:
an unknown outcome is looked up now instead of later, and of a finished action the provider is asked how it stands.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

import anyio

from seikyu.errors import SeikyuError
from seikyu.gate import audit
from seikyu.gate.actions import CLOSED_AS_NOT_WRITTEN, Action, State, actions, find, said_before, tell
from seikyu.gate.claims import Claims
from seikyu.gate.execution import Executor
from seikyu.gate.reconciliation import ReaderOf
from seikyu.models import Clock, moment, timestamp
from seikyu.spec import Json
from seikyu.store.database import Row, Store, Tx

log = logging.getLogger(__name__)

KEPT: Final = timedelta(days=120)
"""How long an event's id is known. MFK sends one again for 31 hours; a replay by somebody else may come later."""

LEASE_S: Final = 120
"""How long one process has an event to itself; longer than the reads it takes."""

LOOK_AGAIN_S: Final = 5
LOOK_AGAIN_MAX_S: Final = 3600
GIVE_UP: Final = timedelta(hours=72)
"""After this an event that could not be looked into is closed; `get_action` still says what was known."""

PER_ROUND: Final = 50

_NOT_WRITTEN: Final = CLOSED_AS_NOT_WRITTEN | {State.AWAITING, State.APPROVED}


@dataclass(frozen=True, slots=True)
class Event:
    """What came, without what it claims."""

    connection: str
    id: str
    """The provider's own; the same for each delivery."""
    kind: str
    body_sha256: str
    reference: str | None = None
    """The provider's id of what it is about."""
    number: str | None = None
    """Our own number of it."""


class Receipt(Enum):
    """What became of a delivery."""

    KEPT = auto()
    KNOWN = auto()
    """Delivered before, word for word."""
    CONFLICT = auto()
    """The same id came with another body: kept and flagged, never looked into."""


class EventBook:
    """Receives events and looks into them. Any number of processes may sweep."""

    def __init__(self, store: Store, clock: Clock, claims: Claims, executor: Executor, reader_of: ReaderOf) -> None:
        self._store = store
        self._clock = clock
        self._claims = claims
        self._executor = executor
        self._reader_of = reader_of

    def receive(self, event: Event) -> Receipt:
        """Keep an event; it is durable when this returns. Raises `StoreBusy`."""
        now = self._clock.now()
        with self._store.write() as tx:
            known = tx.all("events_named", connection=event.connection, event_id=event.id)
            if any(row["body_sha256"] == event.body_sha256 for row in known):
                return Receipt.KNOWN
            tx.run("forget_events", before=timestamp(now - KEPT))
            _add(tx, event, now, state="conflict" if known else "waiting")
            return Receipt.CONFLICT if known else Receipt.KEPT

    async def sweep(self) -> int:
        """Look into every event that is due; how many there were."""
        due = await self._store.run(self._take)
        for row in due:
            await self._look_into(row)
        return len(due)

    async def work(self, *, poll_s: int) -> None:
        """Sweep for ever, every `poll_s` seconds. What fails is told in a line and tried again."""
        while True:
            try:
                await self.sweep()
            except SeikyuError as error:
                log.warning("events wait: %s", error.what.en)
            await anyio.sleep(poll_s)

    def _take(self) -> list[Row]:
        now = self._clock.now()
        with self._store.read() as tx:
            due = tx.all("events_due", now=timestamp(now), limit=PER_ROUND)
        if not due:
            return []
        until = timestamp(now + timedelta(seconds=LEASE_S))
        with self._store.write() as tx:
            return [row for row in due if tx.run("take_event", not_before=until, was=row["not_before"], **_key(row))]

    async def _look_into(self, row: Row) -> None:
        try:
            found = await self._store.run(lambda: self._told_of(row))
            is_done = all([await self._follow(action, row) for action in found])
        except SeikyuError as error:
            log.warning("event %s of %s waits: %s", row["event_id"], row["connection"], error.what.en)
            is_done, found = False, []
        except Exception:
            log.exception("event %s of %s waits: a fault inside Seikyu", row["event_id"], row["connection"])
            is_done, found = False, []
        await self._store.run(lambda: self._settle(row, found, is_done=is_done))

    def _told_of(self, row: Row) -> list[Action]:
        with self._store.read() as tx:
            known = {"reference": row["reference"], "number": row["number"]}
            return actions(tx.all("actions_told_of", connection=row["connection"], **known))

    async def _follow(self, action: Action, row: Row) -> bool:
        """Do for one action what the event is a reason for; False when it is too early."""
        if action.state is State.EXECUTING:  # it came before our own answer: the answer says more
            return False
        if action.state is State.UNKNOWN:
            await self._executor.look_up(action)
        elif action.state is State.SUCCEEDED:
            await self._ask(action)
        elif action.state in _NOT_WRITTEN and row["number"] is not None and action.natural_key == row["number"]:
            await self._store.run(lambda: self._alarm(action, row))
        return True

    async def _ask(self, action: Action) -> None:
        """Ask how a finished action stands, and note what is new. Raises `SeikyuError`."""
        connection, operation = self._claims.bound(action)
        if operation.read_back is None or action.reference is None:
            return
        facts = await operation.read_back(self._reader_of(connection), action.reference)
        await self._store.run(lambda: self._note(action, facts))

    def _note(self, seen: Action, facts: Mapping[str, Json]) -> None:
        now = self._clock.now()
        with self._store.write() as tx:
            action = find(tx, seen.id)
            stored = facts_after(action.provider_facts, facts)
            is_same = action.state is State.SUCCEEDED and action.reference == seen.reference
            if stored is None or not is_same:
                return
            changes = {"provider_facts": stored, "updated_at": timestamp(now)}
            tx.run("set_provider_facts", id=action.id, epoch=action.epoch, **changes)
            said = said_before(tx, action.row)
            tell(tx, now, "provider_says", {**action.row, **changes}, provider_facts=stored, **said)

    def _alarm(self, action: Action, row: Row) -> None:
        """The provider has our number, and we say that nothing was written: a person has to look."""
        with self._store.write() as tx:
            audit.append(tx, self._clock.now(), "contradicted", action.id, event=row["event_id"], type=row["kind"])
        log.critical("%s is not written, and %s has its number", action.id, action.connection)

    def _settle(self, row: Row, found: list[Action], *, is_done: bool) -> None:
        now = self._clock.now()
        age = now - moment(row["received_at"])
        if not is_done and age < GIVE_UP:
            # each pause is as long as the event is old
            wait_s = max(LOOK_AGAIN_S, min(int(age.total_seconds()), LOOK_AGAIN_MAX_S))
            with self._store.write() as tx:
                tx.run("postpone_event", not_before=timestamp(now + timedelta(seconds=wait_s)), **_key(row))
            return
        state = "given_up" if not is_done else "looked_into" if found else "not_ours"
        with self._store.write() as tx:
            if tx.run("close_event", state=state, **_key(row)):
                for action in found:
                    audit.append(tx, now, f"event.{state}", action.id, event=row["event_id"], type=row["kind"])


def facts_after(stored: str | None, facts: Mapping[str, Json]) -> str | None:
    """What to store of new facts; None when nothing is new. `was` is the status before this one."""
    before: dict[str, Any] = {} if stored is None else json.loads(stored)
    if all(before.get(name) == value for name, value in facts.items()):
        return None
    is_moved = "status" in before and before["status"] != facts.get("status")
    was = {"was": before["status"]} if is_moved else {key: before[key] for key in ("was",) if key in before}
    return json.dumps({**facts, **was}, ensure_ascii=False)


def _add(tx: Tx, event: Event, now: datetime, *, state: str) -> None:
    tx.run(
        "add_event",
        connection=event.connection,
        event_id=event.id,
        body_sha256=event.body_sha256,
        kind=event.kind,
        reference=event.reference,
        number=event.number,
        received_at=timestamp(now),
        state=state,
    )
    said = {"connection": event.connection, "event": event.id, "body_sha256": event.body_sha256}
    audit.append(tx, now, "event.conflict" if state == "conflict" else "event.received", **said, type=event.kind)


def _key(row: Row) -> dict[str, str]:
    return {name: str(row[name]) for name in ("connection", "event_id", "body_sha256")}
