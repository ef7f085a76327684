"""A gate with real SQLite and a pretend provider at the edge of our process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from seikyu.errors import ProviderUnavailable, SeikyuError, Text
from seikyu.gate import operators
from seikyu.gate.actions import Action, find, new_action_id
from seikyu.gate.anchors import AnchorFile
from seikyu.gate.batches import Batches
from seikyu.gate.canonical import canonical
from seikyu.gate.cards import CardIndex
from seikyu.gate.claims import Claims
from seikyu.gate.execution import Executor
from seikyu.gate.journal import Journal
from seikyu.gate.operators import Key
from seikyu.gate.policy import PolicyBook
from seikyu.gate.proposals import Desk, Proposal
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.restoration import Restoration
from seikyu.gate.revisions import Draft, Revisions, differences
from seikyu.gate.votes import Ballot, BallotBox
from seikyu.models import Clock
from seikyu.settings import Settings
from seikyu.spec import (
    Absent,
    CardLine,
    Connection,
    Done,
    Fence,
    Finding,
    Json,
    NotSent,
    Operation,
    OutcomeClass,
    Particulars,
    Plan,
    Principal,
    ProviderRequest,
    Reader,
    Sent,
    WriteOperation,
)
from seikyu.store.database import Store
from seikyu.store.presence import Presence

PASSPHRASE = "correct horse battery"
CHEAP = {"iterations": 1, "lanes": 1, "memory_cost": 8}
"""A passphrase nobody guesses at costs nothing to try; the real cost is tested where it matters."""

POLICY = """
schema = 1
version = "test"
operations = ["mfkessai.create_transaction", "mfkessai.cancel_transaction"]
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
daily_total_over = 300_000
[[allow]]
id = "small"
why = "small"
amount_at_most = 50_000
"""


class Booked(BaseModel):
    """What the pretend provider answers."""

    id: str


@dataclass
class PretendClock:
    """A clock the test moves."""

    at: datetime = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, **by: int) -> None:
        self.at += timedelta(**by)


@dataclass
class PretendProvider:
    """Keeps what was booked, by number; answers as the test says."""

    booked: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    standing: dict[str, str] = field(default_factory=dict[str, str])
    """How a transaction stands by now, by id; `passed` unless the test says otherwise."""
    is_down: bool = False
    target: dict[str, str] = field(
        default_factory=lambda: {"counterparty_name": "株式会社青葉商事", "email": "a@example.jp"}
    )
    """What a registration stands on, for operations that read it."""
    target_fault: Exception | None = None
    target_reads: int = 0
    reads: int = 0
    sends: int = 0
    operations: list[WriteOperation[Any]] = field(default_factory=list[WriteOperation[Any]])
    answers: list[Callable[[ProviderRequest], Sent]] = field(default_factory=list[Callable[[ProviderRequest], Sent]])
    before_fence: Callable[[], None] = lambda: None
    before_answer: Callable[[], None] = lambda: None

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        self.before_fence()
        try:
            await fence()
        except SeikyuError as error:  # as at the real edge: nothing has left yet
            return NotSent(error.what)
        self.sends += 1
        self.operations.append(operation)
        answer = self.answers.pop(0) if self.answers else self.book
        sent = answer(request)
        self.before_answer()
        return sent

    def book(self, request: ProviderRequest) -> Sent:
        assert request.body is not None
        number = str(request.body["number"])
        self.booked[number] = request.body
        return Done(f"tx-{number}", {"status": "passed"})

    async def read_target(self, _reader: Reader, _request: ProviderRequest) -> Mapping[str, str]:
        self.target_reads += 1
        if self.target_fault is not None:
            raise self.target_fault
        return dict(self.target)

    async def read(
        self, operation: Operation[Any], *, path: Mapping[str, str] | None = None, query: Sequence[tuple[str, str]] = ()
    ) -> Any:
        return Booked(id="x")


@dataclass
class Stage:
    """Everything a gate test walks through."""

    store: Store
    clock: PretendClock
    provider: PretendProvider
    settings: Settings
    desk: Desk
    revisions: Revisions
    ballots: BallotBox
    batches: Batches
    claims: Claims
    reconciliation: Reconciliation
    executor: Executor
    cards: CardIndex
    operation: WriteOperation[Any]
    presence: Presence
    restoration: Restoration

    def plan(self, number: str | None, amount: int, **particulars: Any) -> Plan:
        details: dict[str, Any] = {
            "amount": amount,
            "counterparty_id": "C-1",
            "counterparty_name": "株式会社青葉商事",
            "transaction_date": date(2026, 11, 20),
            "due_date": date(2026, 12, 31),
        }
        request = ProviderRequest(operation=self.operation.name, body={"number": number, "amount": amount})
        target = None if self.operation.target is None else dict(self.provider.target)
        return Plan(request, Particulars(**(details | particulars)), natural_key=number, target=target)

    def proposal(self, number: str, amount: int, *, requester: str = "suzuki", **particulars: Any) -> Proposal:
        return Proposal(
            action_id=new_action_id(self.clock.now()),
            tool="register_transaction",
            call_digest=f"call-{requester}-{number}-{amount}",
            principal=Principal(requester, "test"),
            connection=CONNECTION,
            operation=self.operation,
            plan=self.plan(number, amount, **particulars),
            arguments=arguments(number, amount),
        )

    def draft(self, action: Action, amount: int, number: str | None = None, **particulars: Any) -> Draft:
        """An edit as the pipeline would plan it."""
        before = json.loads(action.arguments or "{}")
        changed = self.proposal(number or before["number"], amount, requester=action.requester, **particulars)
        after = json.loads(changed.arguments or "{}")
        return Draft(action, replace(changed, action_id=action.id), differences(before, after))

    def propose(self, number: str, amount: int, **more: Any) -> Action:
        return self.desk.propose(self.proposal(number, amount, **more))

    def enrol(self, name: str, endorser: Key | None = None) -> Key:
        operators.enrol(self.store, self.clock, name, PASSPHRASE, endorser=endorser, cost=CHEAP)
        return operators.unlock(self.store, self.clock, name, PASSPHRASE)

    def approve(self, action: Action, key: Key) -> Action:
        return self.ballots.cast(Ballot(action.id, action.digest, "approve", revision=action.revision), key)

    def find(self, action_id: str) -> Action:
        with self.store.read() as tx:
            return find(tx, action_id)


def arguments(number: str, amount: int) -> str:
    return canonical({"number": number, "amount": amount}).decode()


CONNECTION = Connection("mfk-main", "mfkessai", "sandbox", "株式会社テスト", "http://127.0.0.1:1/v2")


TARGET_NAMES = {"counterparty_name": Text("顧客名", "Customer name")}


def make_operation(provider: PretendProvider, outcome_class: OutcomeClass = OutcomeClass.A) -> WriteOperation[Any]:
    """A row like MFK's registration; its look-up asks the pretend provider's book."""

    async def look_up(_reader: Reader, request: ProviderRequest) -> Finding:
        assert request.body is not None
        number = str(request.body["number"])
        if number not in provider.booked:
            return Absent()
        return Done(f"tx-{number}", {"status": "passed"})

    async def read_back(_reader: Reader, reference: str) -> Mapping[str, Json]:
        provider.reads += 1
        if provider.is_down:
            raise ProviderUnavailable(Text("応答がありません。", "It does not answer."))
        return {"status": provider.standing.get(reference, "passed")}

    return WriteOperation(
        name="mfkessai.create_transaction",
        provider="mfkessai",
        method="POST",
        path="/transactions",
        answer=Booked,
        title=Text("取引登録", "Register a transaction"),
        outcome_class=outcome_class,
        describe=lambda request: (CardLine(Text("番号", "number"), str((request.body or {})["number"])),),
        settle=lambda _request, answer: Done(answer.id),
        look_up=look_up if outcome_class is OutcomeClass.A else None,
        conflict_codes=frozenset({"already_exists"}),
        read_back=read_back,
        pinned=lambda request: (request.body or {}).get("payee"),
    )


def make_restoration(store: Store, clock: Clock, settings: Settings) -> Restoration:
    return Restoration(
        store,
        clock,
        settings.timing,
        journal=Journal(settings.sent_folder),
        anchors=AnchorFile(settings.anchors_file),
    )


def make_stage(
    folder: Path,
    policy: str = POLICY,
    *,
    outcome_class: OutcomeClass = OutcomeClass.A,
    provider: PretendProvider | None = None,
    clock: PretendClock | None = None,
    database_url: SecretStr | None = None,
    has_target: bool = False,
) -> Stage:
    """A gate over the database in `folder`, or at `database_url`; two stages on one are two processes' views of it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(policy, encoding="utf-8")
    clock = clock or PretendClock()
    provider = provider or PretendProvider()
    operation = make_operation(provider, outcome_class)
    if has_target:
        operation = replace(operation, target=provider.read_target, target_names=TARGET_NAMES)
    operations = {operation.name: operation}
    settings = Settings(
        home=folder, config=folder, requester="suzuki", connections=(CONNECTION,), database_url=database_url
    )
    store, book, presence = Store(settings.store_place), PolicyBook(settings.policy_file), Presence(folder / "alive")
    restoration = make_restoration(store, clock, settings)
    claims = Claims(
        store, clock, settings, book=book, operations=operations, presence=presence, restoration=restoration
    )
    reconciliation = Reconciliation(store, clock, settings.timing, claims, presence)
    ballots, cards = BallotBox(store, clock, settings.timing), CardIndex(store, operations, None)
    return Stage(
        store=store,
        clock=clock,
        provider=provider,
        settings=settings,
        desk=Desk(store, clock, settings, book),
        revisions=Revisions(store, clock, settings, book),
        ballots=ballots,
        batches=Batches(store, clock, cards, ballots, settings.batch),
        claims=claims,
        reconciliation=reconciliation,
        executor=Executor(store, clock, claims, reconciliation=reconciliation, client_of=lambda _connection: provider),
        cards=cards,
        operation=operation,
        presence=presence,
        restoration=restoration,
    )
