"""A provider that lives in the parent: it outlives every child that is killed, and counts its effects by itself."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel

from seikyu.errors import Text
from seikyu.models import Clock
from seikyu.spec import (
    Absent,
    CardLine,
    Connection,
    Different,
    Done,
    Fence,
    Finding,
    Lost,
    Operation,
    OutcomeClass,
    ProviderRequest,
    Reader,
    Refused,
    Sent,
    WriteOperation,
)

Manner: TypeAlias = Literal["books", "lost", "never", "late", "refuses"]
"""How a number's first request is met: `lost` is booked without an answer, `never` is neither, `late` lands later."""

Said: TypeAlias = dict[str, Any]

CONNECTION: Final = Connection("mfk-main", "mfkessai", "sandbox", "株式会社テスト", "http://127.0.0.1:1/v2")


@dataclass
class Ledger:
    """What really happened, by number. Numbers that begin with A are unique here; the others are not."""

    effects: Counter[str] = field(default_factory=Counter[str])
    sends: Counter[str] = field(default_factory=Counter[str])
    blind: list[str] = field(default_factory=list[str])
    """Numbers sent again although no look-up had shown them absent since."""
    _amounts: dict[str, int] = field(default_factory=dict[str, int])
    _landing: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])
    _absent: set[str] = field(default_factory=set[str])

    def take(self, number: str, amount: int, at: int, *, manner: Manner, delay_s: int = 0) -> str:
        """One request, arrived whole at `at` (s); the answer, `lost` when there is none."""
        self.land(at)
        self._note(number)
        if number in self._amounts and _is_unique(number):
            return "exists"
        if manner == "refuses":
            return "refused"
        if manner == "late":
            self._landing.append((at + delay_s, number, amount))
        if manner in {"books", "lost"}:
            self._book(number, amount)
        return "done" if manner == "books" else "lost"

    def show(self, number: str, at: int) -> int | None:
        """The amount booked under `number`."""
        self.land(at)
        if number not in self._amounts:
            self._absent.add(number)
        return self._amounts.get(number)

    def land(self, at: int | None = None) -> None:
        """Book what was on its way until `at`; all of it without."""
        due = [entry for entry in self._landing if at is None or entry[0] <= at]
        self._landing = [entry for entry in self._landing if entry not in due]
        for _, number, amount in due:
            if not (number in self._amounts and _is_unique(number)):
                self._book(number, amount)

    def _note(self, number: str) -> None:
        if self.sends[number] and number not in self._absent:
            self.blind.append(number)
        self._absent.discard(number)
        self.sends[number] += 1

    def _book(self, number: str, amount: int) -> None:
        self.effects[number] += 1
        self._amounts[number] = amount

    @property
    def duplicates(self) -> list[str]:
        """Numbers with more than one effect, or sent without knowing."""
        return [number for number, count in self.effects.items() if count > 1] + self.blind


def _is_unique(number: str) -> bool:
    return number.startswith("A")


class Wire:
    """One end of a socket pair: JSON lines."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._rest = b""

    def say(self, **said: Any) -> None:
        self.end.sendall(json.dumps(said).encode() + b"\n")

    def hear(self) -> list[Said] | None:
        """Every whole line that has come, waiting for bytes once; None when the other end is gone."""
        try:
            came = self.end.recv(65536)
        except ConnectionResetError:
            came = b""
        if not came:
            return None
        *lines, self._rest = (self._rest + came).split(b"\n")
        return [json.loads(line) for line in lines]

    def ask(self, **said: Any) -> Said:
        """Say, and wait for the one line that answers."""
        self.say(**said)
        while True:
            heard = self.hear()
            if heard is None:
                raise SystemExit(2)
            if heard:
                return heard[0]


class Booked(BaseModel):
    """What a look-up shows; no amount when there is nothing."""

    amount: int | None


class RemoteClient:
    """The provider as a child sees it."""

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self._wire = wire
        self._clock = clock

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        await fence()
        body = dict(request.body or {})
        answer = self._wire.ask(ask="send", at=self._now(), **body)["answer"]
        if answer == "done":
            return Done(f"tx-{body['number']}", {"status": "passed"})
        if answer == "refused":
            return Refused(Text("不正", "invalid"), 400, ("invalid",))
        if answer == "exists":
            return Refused(Text("登録済み", "exists"), 409, ("already_exists",))
        return Lost(Text("切断", "cut"))

    async def read(
        self, operation: Operation[Any], *, path: Mapping[str, str] | None = None, query: Sequence[tuple[str, str]] = ()
    ) -> Any:
        return Booked(amount=self._wire.ask(ask="show", at=self._now(), **dict(query))["amount"])

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


SHOW: Final = Operation(
    name="mfkessai.show",
    provider="mfkessai",
    method="GET",
    path="/transactions",
    answer=Booked,
    title=Text("照会", "Look up"),
)


async def look_up(reader: Reader, request: ProviderRequest) -> Finding:
    """By number; the amount is compared."""
    body = dict(request.body or {})
    found = await reader.read(SHOW, query=[("number", str(body["number"]))])
    if found.amount is None:
        return Absent()
    if found.amount != body["amount"]:
        return Different(Text("金額が違います", "another amount"), f"tx-{body['number']}")
    return Done(f"tx-{body['number']}", {"status": "passed"})


def _operation(name: str, outcome_class: OutcomeClass) -> WriteOperation[Booked]:
    return WriteOperation(
        name=name,
        provider="mfkessai",
        method="POST",
        path="/transactions",
        answer=Booked,
        title=Text("登録", "Register"),
        outcome_class=outcome_class,
        describe=lambda request: (CardLine(Text("番号", "number"), str((request.body or {})["number"])),),
        settle=lambda _request, _answer: Done("unused"),
        look_up=look_up if outcome_class is OutcomeClass.A else None,
        conflict_codes=frozenset({"already_exists"}) if outcome_class is OutcomeClass.A else frozenset(),
    )


FINDABLE: Final = _operation("mfkessai.create_transaction", OutcomeClass.A)
"""Class A: its number is unique at the provider, and can be looked up."""

BLIND: Final = _operation("mfkessai.cancel_transaction", OutcomeClass.D)
"""Class D: nothing tells afterwards."""

OPERATIONS: Final[Mapping[str, WriteOperation[Any]]] = {row.name: row for row in (FINDABLE, BLIND)}
