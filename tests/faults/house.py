"""A whole installation in this process: real HTTP, real SQLite, twins that count, and a wire one can cut."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from click.testing import CliRunner, Result
from pydantic import SecretStr

from e2e.assistant import CREATE, draft
from e2e.furnished import consent as consent_to
from faults.between import Between, standing_between
from gate.stage import CHEAP, PASSPHRASE
from seikyu.app import Home
from seikyu.gate import operators
from seikyu.gate.actions import Action, find
from seikyu.gate.audit import verify
from seikyu.gate.execution import OnStep
from seikyu.gate.votes import Ballot
from seikyu.models import Connection
from seikyu.sandbox.invox import COMPANY_CODE
from seikyu.sandbox.invox_oauth import CLIENT_ID, REDIRECT_URI
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.sandbox.twins import Twins, running_twins
from seikyu.settings import Settings, Timing
from seikyu.spec import Principal, ToolAnswer
from seikyu.surfaces.cli.commands import build
from seikyu.vault.keys import create_key_file

POST: Final = "POST /mfkessai/v2/transactions"
LOOK: Final = "GET /mfkessai/v2/transactions?number="
TOKEN: Final = "POST /invox/oauth2/token/"
UPLOAD: Final = "POST /invox/api/public/e_storage"
STORE: Final = "invox.register_e_storage_document"
SUZUKI: Final = Principal("suzuki", "test", "en")
RECEIPT: Final = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
SECRET: Final = {"--secret-fd": PASSPHRASE}

POLICY: Final = """
schema = 1
version = "faults"
operations = ["mfkessai.create_transaction", "mfkessai.cancel_transaction", "invox.register_e_storage_document"]
[[ask]]
id = "large"
why = "large"
operation = "mfkessai.create_transaction"
amount_over = 50_000
[[ask]]
id = "receipts"
why = "receipts are looked at"
operation = "invox.register_e_storage_document"
[[ask]]
id = "duplicate"
why = "looks like a duplicate"
duplicate = true
[[allow]]
id = "small"
why = "small"
operation = "mfkessai.create_transaction"
amount_at_most = 50_000
"""

FREE_DOCUMENTS: Final = POLICY.replace(
    '[[ask]]\nid = "receipts"\nwhy = "receipts are looked at"', '[[allow]]\nid = "receipts"\nwhy = "may be stored"'
)
QUICK: Final = Timing(settle_s=1, quiet_s=60, read_s=3, write_s=2, lease_s=90)


@dataclass
class MovedClock:
    """The machine's time, moved by what the test says."""

    offset: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def move(self, **by: int) -> None:
        self.offset += timedelta(**by)


@dataclass
class Steps:
    """What the test does at the next durable step of a name: `claimed`, `answered`, `recorded`."""

    at: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])

    def __call__(self, name: str, _action: Action) -> None:
        act = self.at.pop(name, None)
        if act is not None:
            act()


@dataclass
class House:
    """One installation and the world around it."""

    home: Home
    twins: Twins
    wire: Between
    clock: MovedClock
    steps: Steps

    async def call(self, tool: str, **arguments: Any) -> ToolAnswer:
        return await self.home.call(SUZUKI, tool, arguments)

    async def view(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A call that must not be an error; what the assistant reads."""
        answer = await self.call(tool, **arguments)
        assert not answer.is_error, answer.text
        return dict(answer.structured or {})

    async def register(self, price: object = 30_000, **changes: Any) -> dict[str, Any]:
        return await self.view("register_transaction", **draft(price, **changes))

    async def status(self, action_id: str) -> str:
        return str((await self.view("get_action", action_id=action_id))["status"])

    async def pass_time(self, seconds: int) -> None:
        """Our time and the providers' go on, and the worker does a round."""
        self.clock.move(seconds=seconds)
        self.twins.advance(seconds)
        await self.sweep()

    async def sweep(self) -> list[Action]:
        return await self.home.rooms().executor.sweep()

    async def settled(self, action_id: str) -> dict[str, Any]:
        """The action after a while in which nothing else goes wrong."""
        for _ in range(20):
            await self.pass_time(10)
            seen = await self.view("get_action", action_id=action_id)
            if seen["status"] not in {"unknown", "executing", "approved"}:
                return seen
        raise AssertionError("never settled")

    def find(self, action_id: str) -> Action:
        with self.home.rooms().store.read() as tx:
            return find(tx, action_id)

    def effects(self, operation: str = CREATE) -> int:
        """How often the provider really changed, by its own count."""
        return sum(effect.operation == operation for effect in self.twins.effects)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that belongs to this installation."""
        settings = self.home.settings
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SEIKYU_")}
        waits = {f"SEIKYU_TIMING_{name.upper()}": str(wait) for name, wait in asdict(settings.timing).items()}
        return (
            kept
            | waits
            | {
                "SEIKYU_HOME": str(settings.home),
                "SEIKYU_CONFIG": str(settings.config),
                "SEIKYU_REQUESTER": settings.requester,
                "SEIKYU_LANG": settings.lang,
                "PYTHONUTF8": "1",
                "PYTHONPATH": os.pathsep.join(sys.path),
            }
        )

    def another(self, on_step: OnStep | None = None) -> Home:
        """What another process on the same database would be."""
        return Home(self.home.settings, on_step, clock=self.clock)

    async def operator(self, *arguments: str, secrets: dict[str, str] | None = None) -> Result:
        """An operator's command, as in another process."""
        return await anyio.to_thread.run_sync(lambda: self._command(arguments, secrets or {}))

    async def operator_json(self, *arguments: str, secrets: dict[str, str] | None = None) -> Any:
        done = await self.operator(*arguments, "--json", secrets=secrets)
        return json.loads(done.stdout)

    async def approve(self, action_id: str) -> dict[str, Any]:
        """Seal an approval, as the page does, and let the worker send it."""
        rooms = self.home.rooms()
        key = operators.unlock(rooms.store, rooms.clock, "tanaka", PASSPHRASE)
        card = rooms.cards.card(action_id)
        rooms.ballots.cast(Ballot(action_id, card.digest, "approve", revision=card.revision), key)
        await self.sweep()
        return await self.view("get_action", action_id=action_id)

    def _command(self, arguments: tuple[str, ...], secrets: dict[str, str]) -> Result:
        options: list[str] = []
        for option, secret in secrets.items():
            source, sink = os.pipe()
            os.write(sink, f"{secret}\n".encode())
            os.close(sink)
            options += [option, str(source)]
        home = self.another()
        try:
            return CliRunner().invoke(build(lambda: home), [*arguments, *options], obj=home)
        finally:
            home.close()

    def is_log_sound(self) -> bool:
        return verify(self.home.rooms().store).fault is None


def connections(mfk: str, invox: str) -> tuple[Connection, ...]:
    company = "株式会社テスト"
    options = {"company_code": COMPANY_CODE, "client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI}
    return (
        Connection("mfk-main", "mfkessai", "sandbox", company, mfk),
        Connection("invox-main", "invox", "sandbox", company, invox, options),
    )


def lay(folder: Path, policy: str, rows: tuple[Connection, ...], timing: Timing) -> Settings:
    """Write what an operator writes, for this process and for those a test starts."""
    inbox = folder / "home" / "inbox"
    inbox.mkdir(parents=True, mode=0o700)
    (folder / "policy.toml").write_text(policy, encoding="utf-8")
    tables = [
        f'[[connection]]\nname = "{row.name}"\nprovider = "{row.provider}"\nenvironment = "{row.environment}"\n'
        f'company = "{row.company}"\nbase_url = "{row.base_url}"\n'
        + "".join(f'{name} = "{value}"\n' for name, value in row.options.items())
        for row in rows
    ]
    (folder / "connections.toml").write_text("\n".join(["schema = 1", *tables]), encoding="utf-8")
    return Settings(
        home=folder / "home",
        config=folder,
        requester="suzuki",
        lang="en",
        connections=rows,
        timing=timing,
        file_roots=(inbox,),
    )


@asynccontextmanager
async def open_house(
    folder: Path, policy: str = POLICY, *, timing: Timing = QUICK, with_invox: bool = False, with_operator: bool = False
) -> AsyncGenerator[House]:
    """Everything between Seikyu and the twins passes the wire."""
    clock = MovedClock()
    async with running_twins() as twins, standing_between(twins.origin) as wire:
        settings = lay(folder, policy, connections(f"{wire.origin}/mfkessai/v2", f"{wire.origin}/invox"), timing)
        rows = settings.connections
        create_key_file(settings.home)
        steps = Steps()
        house = House(Home(settings, steps, clock=clock), twins, wire, clock, steps)
        try:
            await house.home.logins().put_api_key(rows[0], SecretStr(API_KEY))
            if with_invox:
                await consent(house)
            if with_operator:
                operators.enrol(house.home.rooms().store, clock, "tanaka", PASSPHRASE, endorser=None, cost=CHEAP)
            wire.requests.clear()
            wire.heads.clear()
            wire.bodies.clear()
            yield house
        finally:
            await house.home.rooms().executor.drain()
            await house.home.edge.aclose()
            house.home.close()


async def consent(house: House) -> None:
    """Connect invox as a person does."""
    await consent_to(house.home, house.home.settings.connections[1])


def document(house: House, name: str = "領収書.pdf", more: bytes = b"") -> dict[str, Any]:
    """Arguments of an upload of a new file in the inbox."""
    (house.home.settings.home / "inbox" / name).write_bytes(RECEIPT + more)
    return {"path": name, "doc_type": "領収書"}
