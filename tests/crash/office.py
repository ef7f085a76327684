"""One process's view of a gate whose provider is the parent. Built in a child; the parent prepares the home."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from crash.upstream import BLIND, CONNECTION, FINDABLE, OPERATIONS, RemoteClient, Wire
from gate.stage import make_restoration
from seikyu.gate import operators
from seikyu.gate.actions import Action, find, new_action_id
from seikyu.gate.claims import Claims
from seikyu.gate.execution import Executor, OnStep, no_steps
from seikyu.gate.operators import Key
from seikyu.gate.policy import PolicyBook
from seikyu.gate.proposals import Desk, Proposal
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.votes import Ballot, BallotBox
from seikyu.settings import Settings
from seikyu.spec import Particulars, Plan, Principal, ProviderRequest
from seikyu.store.database import Store
from seikyu.store.presence import Presence

PASSPHRASE: Final = "correct horse battery"
CHEAP: Final = {"iterations": 1, "lanes": 1, "memory_cost": 8}
REQUESTER: Final = "suzuki"
START: Final = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

POLICY: Final = """
schema = 1
version = "crash"
operations = ["mfkessai.create_transaction", "mfkessai.cancel_transaction"]
[[ask]]
id = "large"
why = "large"
amount_over = 1_000_000
approvers = 2
[[allow]]
id = "small"
why = "small"
amount_at_most = 50_000
"""
"""Up to 50,000 yen nobody is asked, up to a million one operator, above two."""


@dataclass
class SteppedClock:
    """Stands still until it is moved."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def advance(self, *, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Home:
    """What a parent prepares once: a policy, an enrolled office, and nothing open."""

    settings: Settings
    book: PolicyBook
    keys: tuple[Key, ...]


def make_home(
    folder: Path,
    policy: str = POLICY,
    *,
    names: tuple[str, ...] = ("tanaka", "sato", "ito"),
    database_url: SecretStr | None = None,
) -> Home:
    """Enrol `names` with real passphrases; every connection is closed again, for the parent is going to fork."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(policy, encoding="utf-8")
    settings = Settings(
        home=folder, config=folder, requester=REQUESTER, connections=(CONNECTION,), database_url=database_url
    )
    store, clock, keys = Store(settings.store_place), SteppedClock(), list[Key]()
    for name in names:
        operators.enrol(store, clock, name, PASSPHRASE, endorser=keys[0] if keys else None, cost=CHEAP)
        keys.append(operators.unlock(store, clock, name, PASSPHRASE))
    store.close()
    return Home(settings, PolicyBook(settings.policy_file), tuple(keys))


def proposal(number: str, amount: int, *, now: datetime, requester: str = REQUESTER) -> Proposal:
    """A registration of `number`, the same call each time; numbers that begin with A can be looked up."""
    operation = FINDABLE if number.startswith("A") else BLIND
    particulars = Particulars(
        amount=amount,
        counterparty_id=f"C-{number}",
        counterparty_name=f"株式会社{number}",
        transaction_date=date(2026, 11, 20),
        due_date=date(2026, 12, 31),
    )
    request = ProviderRequest(operation=operation.name, body={"number": number, "amount": amount})
    return Proposal(
        action_id=new_action_id(now),
        tool="register_transaction",
        call_digest=f"call-{requester}-{number}",
        principal=Principal(requester, "test"),
        connection=CONNECTION,
        operation=operation,
        plan=Plan(request, particulars, natural_key=number),
    )


@dataclass
class Office:
    """The rooms of one process, over a store that may be mortal."""

    home: Home
    store: Store
    clock: SteppedClock
    wire: Wire
    on_step: OnStep = no_steps
    presence: Presence = field(init=False)
    desk: Desk = field(init=False)
    ballots: BallotBox = field(init=False)
    claims: Claims = field(init=False)
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        settings, client = self.home.settings, RemoteClient(self.wire, self.clock)
        rooms: dict[str, Any] = {"book": self.home.book, "operations": OPERATIONS}
        self.presence = Presence(settings.home / "alive")
        self.desk = Desk(self.store, self.clock, settings, self.home.book)
        self.ballots = BallotBox(self.store, self.clock, settings.timing)
        restoration = make_restoration(self.store, self.clock, settings)
        self.claims = Claims(self.store, self.clock, settings, presence=self.presence, restoration=restoration, **rooms)
        looking = Reconciliation(self.store, self.clock, settings.timing, self.claims, self.presence)
        self.executor = Executor(
            self.store,
            self.clock,
            self.claims,
            reconciliation=looking,
            client_of=lambda _connection: client,
            on_step=self.on_step,
        )

    def propose(self, number: str, amount: int, *, requester: str = REQUESTER) -> Action:
        return self.desk.propose(proposal(number, amount, now=self.clock.now(), requester=requester))

    def approve(self, action: Action, key: Key) -> Action:
        return self.ballots.cast(Ballot(action.id, action.digest, "approve", revision=action.revision), key)

    def find(self, action_id: str) -> Action:
        with self.store.read() as tx:
            return find(tx, action_id)

    def close(self) -> None:
        self.store.close()
        self.presence.leave()
