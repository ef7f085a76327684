"""An office in which actions were approved, kept as it was, so that every round can begin there again."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final

from gate.stage import CHEAP, CONNECTION, PASSPHRASE, Stage, make_stage
from seikyu.errors import SeikyuError, Text
from seikyu.gate import operators
from seikyu.gate.actions import Action
from seikyu.gate.canonical import canonical
from seikyu.gate.claims import Claims
from seikyu.gate.execution import Executor
from seikyu.gate.operators import Key
from seikyu.gate.policy import PolicyBook
from seikyu.gate.votes import Ballot
from seikyu.providers.bodies import Body, BodyChanged, body_with_document, json_body
from seikyu.settings import Settings
from seikyu.spec import (
    Connection,
    Done,
    Fence,
    FileDigest,
    NotSent,
    OutcomeClass,
    Particulars,
    Plan,
    Principal,
    ProviderRequest,
    Sent,
    WriteOperation,
)
from seikyu.store.files import DocumentStore
from seikyu.store.sqlite import SqliteEngine

POLICY: Final = """
schema = 1
version = "mutations"
operations = ["mfkessai.create_transaction", "mfkessai.upload_document"]
[[deny]]
id = "too-large"
why = "too large"
amount_over = 5_000_000
[[ask]]
id = "large"
why = "large"
amount_over = 1_000_000
approvers = 2
[[ask]]
id = "duplicate"
why = "looks like a duplicate"
duplicate = true
[[ask]]
id = "daily"
why = "over the day's limit"
daily_total_over = 50_000_000
[[allow]]
id = "small"
why = "small"
operation = "mfkessai.create_transaction"
amount_at_most = 50_000
"""


class Swift(SqliteEngine):
    """Does not wait for the disk: no power is cut here, and each round writes a dozen times."""

    def _open(self) -> sqlite3.Connection:
        connection = super()._open()
        connection.execute("PRAGMA synchronous=OFF")
        return connection


@dataclass(frozen=True, slots=True)
class Wire:
    """What the provider received, or was to receive: to which account, and every byte."""

    account: str
    address: str
    operation: str
    body: bytes


@dataclass
class Provider:
    """Keeps every request it received, of whichever account; handles documents as the real edge does."""

    documents: DocumentStore
    received: list[Wire] = field(default_factory=list[Wire])

    def at(self, connection: Connection) -> Any:
        return Account(self, connection)


@dataclass
class Account:
    """One account at the pretend provider."""

    provider: Provider
    connection: Connection

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        try:
            with ExitStack() as opened:
                body = self._body(request, opened)
                await body.check()
                await fence()
                content = b"".join([chunk async for chunk in body.stream()])
        except SeikyuError as error:
            return NotSent(error.what)
        except BodyChanged:
            return NotSent(Text("書類が変わりました。", "The document changed."))
        self.provider.received.append(Wire(self.connection.name, self.connection.base_url, operation.name, content))
        return Done(f"tx-{len(self.provider.received)}")

    def _body(self, request: ProviderRequest, opened: ExitStack) -> Body:
        if not request.files:
            return json_body(request.body or {})
        [file] = request.files
        content = opened.enter_context(self.provider.documents.open(file.sha256))
        return body_with_document(request.body or {}, file, content)


@dataclass(frozen=True, slots=True)
class Stood:
    """How things stood at a moment."""

    database: sqlite3.Connection
    """In memory."""
    journal: Mapping[Path, bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """An action to be changed past the gate, and the office as it was the moment before."""

    name: str
    action: Action
    approved: Wire | None
    """What may be sent, byte for byte; None when nothing may be: rejected, withdrawn, not decided, or done already."""
    stood: Stood
    at: datetime

    @property
    def is_voted(self) -> bool:
        return self.approved is not None and self.name != "allowed"


@dataclass
class Office:
    """A stage whose operators are enrolled, and the targets of a chapter."""

    stage: Stage
    provider: Provider
    operations: Mapping[str, WriteOperation[Any]]
    keys: Mapping[str, Key]
    house: Stood
    raw: sqlite3.Connection
    files: Path
    make_claims: Callable[..., Claims] = Claims

    def claims(self, settings: Settings) -> Claims:
        return self.make_claims(
            self.stage.store,
            self.stage.clock,
            settings,
            book=PolicyBook(settings.policy_file),
            operations=self.operations,
            presence=self.stage.presence,
            restoration=self.stage.restoration,
        )

    def executor(self, settings: Settings) -> Executor:
        """What a server that has just started with these settings would execute with."""
        return Executor(
            self.stage.store,
            self.stage.clock,
            self.claims(settings),
            reconciliation=self.stage.reconciliation,
            client_of=self.provider.at,
            record_waits_s=(0,),
        )

    def stand(self, stood: Stood) -> None:
        """Make the database and the journal of sends what they were."""
        stood.database.backup(self.raw)
        if self._journal() != stood.journal:
            for place in self._journal():
                place.unlink()
            for place, content in stood.journal.items():
                place.write_bytes(content)

    def kept(self) -> Stood:
        """Both as they are, in memory."""
        memory = sqlite3.connect(":memory:")
        self.raw.backup(memory)
        return Stood(memory, self._journal())

    def _journal(self) -> dict[Path, bytes]:
        return {place: place.read_bytes() for place in self.stage.settings.sent_folder.glob("*.jsonl")}

    def close(self) -> None:
        self.stage.store.close()
        self.stage.presence.leave()
        self.raw.close()


def open_office(folder: Path) -> Office:
    """Four operators, one of whom was removed; with ceilings, given by the first."""
    stage = make_stage(folder / "home", POLICY)
    object.__setattr__(stage.store, "_engine", Swift(stage.settings.database))
    tanaka = stage.enrol("tanaka")
    keys = {"tanaka": tanaka, "sato": stage.enrol("sato", tanaka), "kato": stage.enrol("kato", tanaka)}
    operators.enrol(stage.store, stage.clock, "mori", PASSPHRASE, endorser=tanaka, cost=CHEAP)
    operators.grant(stage.store, stage.clock, "sato", roles=["keiri"], ceiling=4_500_000, by=tanaka)
    operators.grant(stage.store, stage.clock, "kato", roles=[], ceiling=50_000, by=tanaka)
    operators.remove(stage.store, stage.clock, "mori", by=tanaka)
    raw = sqlite3.connect(stage.settings.database, isolation_level=None)
    raw.row_factory = sqlite3.Row
    raw.execute("PRAGMA synchronous=OFF")
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")  # whoever owns the database does that first
    upload = replace(
        stage.operation, name="mfkessai.upload_document", kind="document", outcome_class=OutcomeClass.D, look_up=None
    )
    files = folder / "documents"
    files.mkdir()
    operations: dict[str, WriteOperation[Any]] = {stage.operation.name: stage.operation, upload.name: upload}
    house = sqlite3.connect(":memory:")
    raw.backup(house)
    return Office(stage, Provider(DocumentStore(files, (), 1_000_000)), operations, keys, Stood(house, {}), raw, files)


# what is proposed and approved


@dataclass
class Day:
    """The making of one chapter's targets."""

    office: Office
    rng: Random
    chapter: int
    made: list[Target] = field(default_factory=list[Target])

    def propose(self, name: str, amount: int) -> tuple[Action, Wire]:
        stage, number = self.office.stage, f"{name}-{self.chapter}"
        whom = {"counterparty_id": f"C-{name}", "counterparty_name": f"株式会社{name}"}
        return stage.propose(number, amount, **whom), self.wire(number, amount)

    def revise(self, action: Action, amount: int, by: Key | None = None) -> tuple[Action, Wire]:
        draft = self.office.stage.draft(
            action,
            amount,
            counterparty_id=action.particulars.counterparty_id,
            counterparty_name=action.particulars.counterparty_name,
        )
        return self.office.stage.revisions.revise(draft, key=by), self.wire(f"{action.natural_key}", amount)

    def wire(self, number: str, amount: int, **more: str) -> Wire:
        body = {"number": number, "amount": amount, **more}
        return self._wire("mfkessai.create_transaction", body)

    def _wire(self, operation: str, body: Mapping[str, object]) -> Wire:
        written = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return Wire(CONNECTION.name, CONNECTION.base_url, operation, written)

    def approve(self, action: Action, *names: str) -> Action:
        self.office.stage.clock.advance(seconds=self.rng.randrange(1, 60))
        for name in names:
            action = self.office.stage.approve(action, self.office.keys[name])
        return action

    def keep(self, name: str, action: Action, wire: Wire | None) -> None:
        stage = self.office.stage
        self.made.append(Target(name, stage.find(action.id), wire, self.office.kept(), stage.clock.at))

    def upload(self) -> tuple[Action, Wire]:
        office, content = self.office, b"%PDF-" + self.rng.randbytes(60)
        hashed = sha256(content).hexdigest()
        (office.files / hashed).write_bytes(content)
        operation = office.operations["mfkessai.upload_document"]
        body: dict[str, object] = {"number": f"upload-{self.chapter}", "company": "T-1"}
        file = FileDigest(name="a.pdf", size=len(content), sha256=hashed, field="content")
        plan = Plan(ProviderRequest(operation=operation.name, body=body, files=(file,)), Particulars())
        shape = office.stage.proposal(f"upload-{self.chapter}", 1)
        action = office.stage.desk.propose(
            replace(shape, operation=operation, plan=plan, arguments=canonical(body).decode())
        )
        return action, self._wire(operation.name, body | {"content": base64.b64encode(content).decode()})


async def chapter(office: Office, seed: int, number: int) -> list[Target]:
    """New targets, all through the real gate, each of its own kind."""
    day = Day(office, Random(f"{seed}/{number}"), number)  # noqa: S311 - a run that can be repeated
    yesterday = await _bystanders(day)
    for make in (_one, _two, _allowed, _revised, _corrected, _uploaded):
        office.stand(yesterday)
        make(day)
    return day.made


async def _bystanders(day: Day) -> Stood:
    """What else is there: done, rejected, withdrawn, half decided. Nothing of it may be sent."""
    office, rng = day.office, day.rng
    office.stand(office.house)
    office.stage.clock.at += timedelta(minutes=5)
    done, _ = day.propose("done", rng.randrange(1_000, 50_000))
    await office.executor(office.stage.settings).execute(done.id)
    office.provider.received.clear()
    rejected, _ = day.propose("rejected", rng.randrange(50_001, 900_000))
    ballot = Ballot(rejected.id, rejected.digest, "reject", "no")
    office.stage.ballots.cast(ballot, office.keys["sato"])
    withdrawn, _ = day.propose("withdrawn", rng.randrange(50_001, 900_000))
    office.stage.desk.withdraw(withdrawn.id, Principal("suzuki", "test"))
    half, _ = day.propose("half", rng.randrange(1_000_001, 4_000_000))
    day.approve(half, "tanaka")
    for name, action in (("done", done), ("rejected", rejected), ("withdrawn", withdrawn), ("half", half)):
        day.keep(name, action, None)
    return day.made[-1].stood


def _one(day: Day) -> None:
    action, wire = day.propose("one", day.rng.randrange(50_001, 1_000_000))
    day.keep("one", day.approve(action, day.rng.choice(["tanaka", "sato"])), wire)


def _two(day: Day) -> None:
    action, wire = day.propose("two", day.rng.randrange(1_000_001, 4_000_000))
    day.keep("two", day.approve(action, "tanaka", "sato"), wire)


def _allowed(day: Day) -> None:
    action, wire = day.propose("allowed", day.rng.randrange(1_000, 50_000))
    day.keep("allowed", action, wire)


def _revised(day: Day) -> None:
    """By its requester, twice; now and then into what the policy would have allowed."""
    action, _ = day.propose("revised", day.rng.randrange(500_000, 900_000))
    action, _ = day.revise(action, day.rng.randrange(100_000, 500_000))
    action, wire = day.revise(action, day.rng.choice([30_000, 90_000]) + day.rng.randrange(1_000))
    day.keep("revised", day.approve(action, "tanaka"), wire)


def _corrected(day: Day) -> None:
    """By an operator, who is a maker from then on."""
    action, _ = day.propose("corrected", day.rng.randrange(500_000, 900_000))
    amount = day.rng.choice([30_000, 90_000]) + day.rng.randrange(1_000)
    action, wire = day.revise(action, amount, day.office.keys["tanaka"])
    day.keep("corrected", day.approve(action, "sato"), wire)


def _uploaded(day: Day) -> None:
    action, wire = day.upload()
    day.keep("uploaded", day.approve(action, "tanaka"), wire)
