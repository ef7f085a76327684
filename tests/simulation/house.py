"""The gate's rooms as this package builds them: the one place that knows how. And the processes that live in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from seikyu.errors import CommitUnknown, ConfigurationError, StoreBusy, Text
from seikyu.gate import operators
from seikyu.gate.actions import Action, find
from seikyu.gate.anchors import Anchor, AnchorFile, AnchorLines
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.claims import Claims
from seikyu.gate.execution import Executor
from seikyu.gate.journal import Entry, Journal, entry_of, line_of
from seikyu.gate.operators import Key
from seikyu.gate.policy import Policy, PolicyBook
from seikyu.gate.proposals import Desk, Proposal
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.restoration import Restoration
from seikyu.gate.revisions import Revisions
from seikyu.gate.votes import BallotBox
from seikyu.models import Clock, SystemClock, timestamp
from seikyu.settings import Settings
from seikyu.spec import Connection, Particulars, Plan, Principal, ProviderRequest
from seikyu.store.database import Store, Tx
from seikyu.store.presence import Presence
from simulation.oracle import Asked
from simulation.providers import CLAIMED, CONNECTIONS, OPERATIONS, PretendClient, Provider
from simulation.rules import Rules, policy_of

PASSPHRASE: Final = "correct horse battery"
CHEAP: Final = {"iterations": 1, "lanes": 1, "memory_cost": 8}
OPERATORS: Final = ("tanaka", "sato", "mori")

Blow: TypeAlias = Literal["busy", "full", "ambiguous", "dies before", "dies after"]
"""What becomes of a transaction. `ambiguous`: it is stored, and the answer is that it is not."""

ResultT = TypeVar("ResultT")


class Died(BaseException):
    """The process is gone, in the middle of whatever it did."""


@dataclass(frozen=True, slots=True)
class House:
    """What a run prepares once: a database with enrolled operators, and their keys."""

    database: Path
    keys: tuple[Key, ...]

    def copy(self, to: Path) -> Path:
        shutil.copyfile(self.database, to)
        return to


def build_house(folder: Path) -> House:
    """Enrol the operators with real passphrases, once."""
    store, clock, keys = Store(folder / "template.db"), SystemClock(), list[Key]()
    for name in OPERATORS:
        operators.enrol(store, clock, name, PASSPHRASE, endorser=keys[0] if keys else None, cost=CHEAP)
        keys.append(operators.unlock(store, clock, name, PASSPHRASE))
    store.close()
    return House(folder / "template.db", tuple(keys))


class Shelf(PolicyBook):
    """The policy file of every process, changed under their hands; None while nobody can read it."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(Path("policy.toml"))
        self.rules: Rules | None = rules

    def current(self) -> Policy:
        if self.rules is None:
            raise ConfigurationError(Text("読めません", "cannot be read"))
        return policy_of(self.rules)


class Register(Presence):
    """Which processes live, known to all at once."""

    def __init__(self, name: str, living: set[str]) -> None:
        super().__init__(Path("alive"))
        self.name = name
        self._living = living
        living.add(name)

    def appear(self) -> str:
        return self.name

    def is_gone(self, name: str) -> bool:
        return name not in self._living

    def leave(self) -> None:
        self._living.discard(self.name)


class Diary(Journal):
    """The journal of the machine all processes run on, in memory."""

    def __init__(self) -> None:
        super().__init__(Path("sent"))
        self.lines: list[bytes] = []

    def keep(
        self, row: Mapping[str, Any], *, edits: Sequence[Mapping[str, Any]], approved_by: tuple[str, ...], now: datetime
    ) -> None:
        self.lines.append(line_of(row, edits=edits, approved_by=approved_by, at=timestamp(now)))

    def entries(self) -> Iterator[Entry | None]:
        return map(entry_of, reversed(self.lines))

    def newest(self) -> list[Entry | None]:
        return list(map(entry_of, reversed(self.lines[-5:])))


class NoAnchors(AnchorFile):
    """Nothing is anchored: the oracle holds the log against what it saw."""

    def __init__(self) -> None:
        super().__init__(Path("anchors.jsonl"))

    def read(self) -> AnchorLines:
        return AnchorLines()

    def newest(self) -> Anchor | None:
        return None


@dataclass(frozen=True, slots=True)
class Rooms:
    """Which rooms are built; a planted bug replaces one."""

    claims: type[Claims] = Claims
    reconciliation: type[Reconciliation] = Reconciliation
    executor: type[Executor] = Executor
    ballots: type[BallotBox] = BallotBox
    desk: type[Desk] = Desk
    revisions: type[Revisions] = Revisions
    shelf: type[Shelf] = Shelf
    tx: Callable[[Tx], Tx] = lambda tx: tx
    operations: Any = None


class OfficeStore(Store):
    """The shared database as one process uses it, with everything that can go wrong on the way."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        await self._office.world.turn()
        self._office.check()
        return work()

    @contextmanager
    def write(self) -> Generator[Tx]:
        office, world = self._office, self._office.world
        office.check()
        blow = world.blow(office)
        if blow == "busy":
            raise StoreBusy(Text("使用中", "locked"))
        with world.store.write() as tx:
            yield world.rooms.tx(tx)
            if blow == "full":
                raise StoreBusy(Text("満杯", "full"))
            if blow == "dies before":
                office.die()
                office.check()
        world.stored(office)
        if blow == "dies after":
            office.die()
            office.check()
        if blow == "ambiguous":
            raise CommitUnknown

    @contextmanager
    def read(self) -> Generator[Tx]:
        self._office.check()
        with self._office.world.store.read() as tx:
            yield self._office.world.rooms.tx(tx)

    def close(self) -> None:
        """Nothing of it is ours alone."""


class Surroundings:
    """What an office needs of its world."""

    store: Store
    clock: Clock
    rooms: Rooms
    shelf: Shelf
    living: set[str]
    diary: Diary
    providers: dict[str, Provider]

    async def turn(self) -> None:
        """Let anything else happen first."""

    def blow(self, office: Office) -> Blow | None:
        """What becomes of the transaction that begins now."""
        return None

    def stored(self, office: Office) -> None:
        """A transaction was committed."""

    def stepped(self, step: str, action: Action) -> None:
        """The executor has come so far."""


SETTINGS: Final = Settings(
    home=Path("home"),
    config=Path("config"),
    requester="suzuki",
    connections=tuple(connection for connection, _ in CONNECTIONS.values()),
)


@dataclass
class Office:
    """One process and its rooms."""

    name: str
    world: Surroundings
    is_alive: bool = True
    store: OfficeStore = field(init=False)
    presence: Register = field(init=False)
    desk: Desk = field(init=False)
    revisions: Revisions = field(init=False)
    ballots: BallotBox = field(init=False)
    claims: Claims = field(init=False)
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        world, rooms, clock = self.world, self.world.rooms, self.world.clock
        operations = rooms.operations or OPERATIONS
        self.store, self.presence = OfficeStore(self), Register(self.name, world.living)
        self.desk = rooms.desk(self.store, clock, SETTINGS, world.shelf)
        self.revisions = rooms.revisions(self.store, clock, SETTINGS, world.shelf)
        self.ballots = rooms.ballots(self.store, clock, SETTINGS.timing)
        restoration = Restoration(self.store, clock, SETTINGS.timing, journal=world.diary, anchors=NoAnchors())
        self.claims = rooms.claims(
            self.store,
            clock,
            SETTINGS,
            book=world.shelf,
            operations=operations,
            presence=self.presence,
            restoration=restoration,
        )
        looking = rooms.reconciliation(self.store, clock, SETTINGS.timing, self.claims, self.presence)
        self.executor = rooms.executor(
            self.store,
            clock,
            self.claims,
            reconciliation=looking,
            client_of=self._client,
            on_step=self._step,
        )

    def _client(self, connection: Connection) -> PretendClient:
        return PretendClient(self.world.providers[connection.name], self)

    def _step(self, step: str, action: Action) -> None:
        self.check()
        if step == "claimed":
            CLAIMED.set(action.id)
        self.world.stepped(step, action)

    def check(self) -> None:
        """Raises `Died` when the process is gone."""
        if not self.is_alive:
            raise Died(self.name)

    def die(self) -> None:
        self.is_alive = False
        self.presence.leave()

    def find(self, action_id: str) -> Action:
        with self.store.read() as tx:
            return find(tx, action_id)


def proposal(asked: Asked) -> Proposal:
    """The call that asks for it; the same fields from the same person are the same call."""
    connection, operation = CONNECTIONS[asked.connection]
    particulars = Particulars(
        amount=asked.amount,
        counterparty_id=str(asked.fields["customer"]),
        counterparty_name=f"株式会社{asked.fields['customer']}",
        transaction_date=date(2026, 11, 20),
        due_date=date(2026, 12, 31),
    )
    request = ProviderRequest(operation=operation.name, body=asked.fields)
    return Proposal(
        action_id=asked.action_id,
        tool="register_transaction",
        call_digest=sha256(canonical([asked.requester, asked.connection, asked.fields])),
        principal=Principal(asked.requester, "test"),
        connection=connection,
        operation=operation,
        plan=Plan(request, particulars, natural_key=str(asked.fields["number"]) if operation.conflict_codes else None),
        arguments=canonical(asked.fields).decode(),
    )
