"""Pretend providers: each keeps its own book and its own count of effects, and answers as badly as the seed says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, Literal, Protocol, TypeAlias

from pydantic import BaseModel

from seikyu.errors import LoginRequired, ProviderUnavailable, SeikyuError, Text
from seikyu.spec import (
    Absent,
    CardLine,
    Connection,
    Different,
    Done,
    Fence,
    Finding,
    Lost,
    NotSent,
    Operation,
    OutcomeClass,
    ProviderName,
    ProviderRequest,
    Reader,
    Refused,
    Sent,
    WriteOperation,
)
from simulation.scheduler import MICRO, VirtualLoop

DEADLINE_S: Final = 60
"""Of a write, as at the real edge."""

Fields: TypeAlias = dict[str, Any]
Before: TypeAlias = Literal["sends", "login", "no route", "broken"]
Does: TypeAlias = Literal["books", "refuses", "drops", "mangles"]
Says: TypeAlias = Literal["answers", "cuts", "5xx", "garbage"]

CLAIMED: ContextVar[str] = ContextVar("claimed")
"""The action this task holds a claim on: it tells which action a request belongs to, whatever the gate believes."""


class Booked(BaseModel):
    """What a look-up shows: every entry under the number."""

    entries: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Fate:
    """How one request is met."""

    before: Before = "sends"
    does: Does = "books"
    says: Says = "answers"
    pause_s: int = 0
    """Between the fence and the provider: a process that is stopped, a packet that is late."""
    transit_s: int = 0
    """Until the provider acts; beyond the deadline the answer is lost and the effect lands late."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One effect."""

    reference: str
    fields: Fields
    action_id: str | None
    """None: made by somebody else, by hand."""
    at_us: int


class Watcher(Protocol):
    """The oracle, as the providers tell it what really happens."""

    def leaves(self, action_id: str, connection: str, request: ProviderRequest) -> None: ...

    def lands(self, action_id: str, *, is_booked: bool) -> None: ...


class Alive(Protocol):
    """The process a request comes from."""

    def check(self) -> None:
        """Raises when it died."""
        ...


@dataclass
class Provider:
    """One account. Under a unique number it books once; otherwise whatever comes."""

    name: str
    is_unique: bool
    loop: VirtualLoop
    random: Random
    watcher: Watcher
    is_troubled: bool = True
    """Whether it fails at all; in the end everything works."""
    is_late: bool = False
    lag_s: int = 0
    entries: list[Entry] = field(default_factory=list[Entry])
    next_fates: list[Fate] = field(default_factory=list[Fate])
    next_views: list[str] = field(default_factory=list[str])
    _flights: set[asyncio.Task[Sent]] = field(default_factory=set[asyncio.Task[Sent]])

    def fate(self) -> Fate:
        if self.next_fates:
            return self.next_fates.pop(0)
        if not self.is_troubled or self.random.randrange(3) == 0:
            return Fate()
        late = self.random.choice((0, 0, 5, 50, 61, 200, 600)) if self.is_late else self.random.choice((0, 0, 0, 3))
        return Fate(
            before=self.random.choices(("sends", "login", "no route", "broken"), (17, 1, 3, 1))[0],
            does=self.random.choices(("books", "refuses", "drops", "mangles"), (12, 2, 4, 1))[0],
            says=self.random.choices(("answers", "cuts", "5xx", "garbage"), (5, 4, 2, 1))[0],
            pause_s=self.random.choice((0, 0, 0, 0, 1, 95, 200)) if self.is_late else 0,
            transit_s=late,
        )

    def depart(self, fate: Fate, action_id: str, request: ProviderRequest) -> asyncio.Task[Sent]:
        """The bytes are on their way, and arrive whatever becomes of their sender."""
        flight = self.loop.create_task(self._fly(fate, action_id, dict(request.body or {})))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)
        return flight

    async def _fly(self, fate: Fate, action_id: str, fields: Fields) -> Sent:
        await asyncio.sleep(fate.pause_s + fate.transit_s)
        await self.loop.turn()
        sent = self._act(fate, action_id, fields)
        if fate.says != "answers" and not (fate.does == "refuses" and isinstance(sent, Refused)):
            return Lost(Text("切断", fate.says), 500 if fate.says == "5xx" else None)
        return sent

    def _act(self, fate: Fate, action_id: str, fields: Fields) -> Sent:
        is_taken = self.is_unique and bool(self.under(fields["number"]))
        does = "conflicts" if is_taken and fate.does != "drops" else fate.does
        self.watcher.lands(action_id, is_booked=does in {"books", "mangles"})
        if does == "books":
            return Done(self.book(fields, action_id), {"status": "passed"})
        if does == "mangles":
            return Different(Text("金額が違います", "another amount"), self.book(fields | {"amount": 1}, action_id))
        if does == "refuses":
            return Refused(Text("不正", "invalid"), 400, ("invalid",))
        if does == "conflicts":
            return Refused(Text("登録済み", "exists"), 409, ("already_exists",))
        return Lost(Text("切断", "dropped"))

    def book(self, fields: Fields, action_id: str | None) -> str:
        reference = f"{self.name}-{len(self.entries)}"
        self.entries.append(Entry(reference, fields, action_id, self.loop.elapsed_us))
        return reference

    def under(self, number: object) -> list[Entry]:
        return [entry for entry in self.entries if entry.fields["number"] == number]

    async def show(self, number: object) -> Booked:
        """What the look-up sees now: perhaps nothing yet, perhaps nothing at all."""
        await self.loop.turn()
        view = self.next_views.pop(0) if self.next_views else self._view()
        if view == "down":
            raise ProviderUnavailable(Text("不通", "down"))
        if view == "broken":
            raise ValueError("a fault of ours")
        seen = [one for one in self.under(number) if one.at_us + self.lag_s * MICRO <= self.loop.elapsed_us]
        return Booked(entries=tuple({"reference": one.reference, **one.fields} for one in seen))

    def _view(self) -> str:
        return self.random.choice(("whole", "whole", "whole", "down", "broken")) if self.is_troubled else "whole"


class PretendClient:
    """A provider as one process reaches it."""

    def __init__(self, provider: Provider, office: Alive) -> None:
        self._provider = provider
        self._office = office

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        provider, fate = self._provider, self._provider.fate()
        if fate.before == "login":
            raise LoginRequired(Text("要再接続", "connect again"))
        if fate.before == "no route":
            return NotSent(Text("不通", "no route"))
        try:
            await fence()
        except SeikyuError as error:  # as at the real edge: nothing has left yet
            return NotSent(error.what)
        provider.watcher.leaves(CLAIMED.get(), provider.name, request)
        flight = provider.depart(fate, CLAIMED.get(), request)
        await asyncio.wait({flight}, timeout=DEADLINE_S + fate.pause_s)
        self._office.check()
        if fate.before == "broken":
            raise ValueError("a fault of ours after the bytes left")
        return flight.result() if flight.done() else Lost(Text("時間切れ", "timeout"))

    async def read(
        self, operation: Operation[Any], *, path: Mapping[str, str] | None = None, query: Sequence[tuple[str, str]] = ()
    ) -> Any:
        shown = await self._provider.show(dict(query)["number"])
        self._office.check()
        return shown


SHOW: Final = Operation(
    name="mfkessai.show", provider="mfkessai", method="GET", path="/entries", answer=Booked, title=Text("照会", "Show")
)


async def look_up(reader: Reader, request: ProviderRequest) -> Finding:
    """By number; every field is compared."""
    body = dict(request.body or {})
    found = await reader.read(SHOW, query=[("number", str(body["number"]))])
    if not found.entries:
        return Absent()
    [*others, entry] = (dict(one) for one in found.entries)
    reference = str(entry.pop("reference"))
    if others or entry != body:
        return Different(Text("一致しません", "not what was asked"), reference)
    return Done(reference, {"status": "passed"})


async def number_is_enough(reader: Reader, request: ProviderRequest) -> Finding:
    """A look-up with a fault: it compares nothing but the number."""
    finding = await look_up(reader, request)
    return Done(finding.reference or "") if isinstance(finding, Different) else finding


def _row(name: str, provider: ProviderName, outcome_class: OutcomeClass) -> WriteOperation[Any]:
    return WriteOperation(
        name=name,
        provider=provider,
        method="POST",
        path="/entries",
        answer=Booked,
        title=Text("登録", "Register"),
        outcome_class=outcome_class,
        describe=lambda request: (CardLine(Text("番号", "number"), str((request.body or {})["number"])),),
        settle=lambda _request, _answer: Done("unused"),
        look_up=None if outcome_class is OutcomeClass.D else look_up,
        conflict_codes=frozenset({"already_exists"}) if outcome_class is OutcomeClass.A else frozenset(),
    )


OPERATIONS: Final[Mapping[str, WriteOperation[Any]]] = {
    row.name: row
    for row in (
        _row("mfkessai.create_transaction", "mfkessai", OutcomeClass.A),
        _row("misoca.create_invoice", "misoca", OutcomeClass.C),
        _row("invox.register_invoice", "invox", OutcomeClass.D),
    )
}
"""One operation of each class there is: a unique number, a search that proves nothing, nothing at all."""

_address = partial("http://127.0.0.1:1/{}".format)

CONNECTIONS: Final[Mapping[str, tuple[Connection, WriteOperation[Any]]]] = {
    name: (Connection(name, operation.provider, "sandbox", "株式会社テスト", _address(name)), operation)
    for name, operation in (
        ("mfk-main", OPERATIONS["mfkessai.create_transaction"]),
        ("mfk-east", OPERATIONS["mfkessai.create_transaction"]),
        ("misoca-main", OPERATIONS["misoca.create_invoice"]),
        ("invox-main", OPERATIONS["invox.register_invoice"]),
    )
}
