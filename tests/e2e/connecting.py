"""An installation whose accounts are connected, in this process, by a browser that is httpx."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from click.testing import CliRunner, Result

from faults.between import Between, standing_between
from seikyu.app import Home
from seikyu.errors import Lang
from seikyu.gate.audit import verify
from seikyu.models import Connection
from seikyu.sandbox import freee, invox_oauth, misoca
from seikyu.sandbox.invox import COMPANY_CODE
from seikyu.sandbox.twins import Twins, running_twins
from seikyu.settings import Settings, Timing
from seikyu.surfaces.cli.commands import build
from seikyu.vault.secrets import Grant, Vault

SECRETS = {
    "freee": freee.CLIENT_SECRET,
    "misoca": misoca.CLIENT_SECRET,
    "invox": invox_oauth.CLIENT_SECRET,
}
COMPANY_OF = {"freee": freee.COMPANY, "misoca": str(misoca.USER_ID), "invox": COMPANY_CODE}
QUICK = Timing(consent_s=20, read_s=2)


def follow(address: str) -> bool:
    """A person who consents: the browser goes where it is sent, to the end."""
    with httpx2.Client(trust_env=False, follow_redirects=True, timeout=10) as browser:
        browser.get(address)
    return True


def location(address: str) -> str:
    """Where the provider sends the browser, which stays."""
    with httpx2.Client(trust_env=False) as browser:
        return str(browser.get(address).headers["location"])


@dataclass
class Browser:
    """What happens when an address is shown to the person."""

    does: Callable[[str], bool] = follow
    shown: list[str] = field(default_factory=list[str])

    def __call__(self, address: str) -> bool:
        self.shown.append(address)
        return self.does(address)


def account(provider: str, origin: str, **changes: str) -> Connection:
    """One connection of each provider, as a person writes it; `changes` to its options, its company, its name."""
    twin: Any = {"freee": freee, "misoca": misoca, "invox": invox_oauth}[provider]
    path = urlsplit(str(twin.REDIRECT_URI)).path
    options = {"client_id": twin.CLIENT_ID, "redirect_uri": f"http://127.0.0.1:0{path}"}
    if provider == "invox":
        options["company_code"] = COMPANY_CODE
    company = changes.pop("company", "株式会社サンプル")
    name = changes.pop("name", f"{provider}-main")
    return Connection(name, provider, "sandbox", company, f"{origin}/{provider}", options | changes)  # type: ignore[arg-type]


@dataclass
class Desk:
    """One installation, its world, and the commands of the person at it."""

    folder: Path
    twins: Twins
    wire: Between
    browser: Browser
    connection: Connection
    portal: BlockingPortal
    """Where the world runs; the commands have the main thread, as in life."""
    timing: Timing = QUICK
    lang: Lang = "en"
    undo: ExitStack = field(default_factory=ExitStack)
    """What a test did to the world, and takes back."""

    def home(self) -> Home:
        """What a new process would open."""
        home = self.folder / "home"
        settings = Settings(
            home, self.folder, "suzuki", lang=self.lang, connections=(self.connection,), timing=self.timing
        )
        return Home(settings, browse=self.browser)

    def run(self, command: str, *options: str, **secrets: str) -> Result:
        """`seikyu COMMAND NAME`; `secret_fd="…"` becomes `--secret-fd N`."""
        return self.call(command, self.connection.name, *options, **secrets)

    def connect(self, *options: str, company: str | None = None, **secrets: str) -> Result:
        provider = self.connection.provider
        secret = {"secret_fd": SECRETS[provider]} | secrets
        return self.run("connect", "--company", company or COMPANY_OF[provider], *options, **secret)

    def call(self, *arguments: str, **secrets: str) -> Result:
        """Any command."""
        options: list[str] = []
        descriptors: list[int] = []
        for name, secret in secrets.items():
            source, sink = os.pipe()
            os.write(sink, f"{secret}\n".encode())
            os.close(sink)
            options += [f"--{name.replace('_', '-')}", str(source)]
            descriptors.append(source)
        home = self.home()
        try:
            return CliRunner().invoke(build(lambda: home), [*arguments, *options], obj=home)
        finally:
            home.close()
            for descriptor in descriptors:
                os.close(descriptor)

    def state(self) -> str:
        home = self.home()
        try:
            return home.logins().state(self.connection)
        finally:
            home.close()

    def grant(self) -> Grant:
        """The stored login, opened."""
        home = self.home()
        rooms = home.rooms()
        try:
            return Vault(rooms.store, rooms.clock, home.key_ring).grant(self.connection)
        finally:
            home.close()

    def is_log_sound(self) -> bool:
        home = self.home()
        try:
            return verify(home.rooms().store).fault is None
        finally:
            home.close()

    @property
    def oauth(self) -> Any:
        """The provider's authorization server."""
        return getattr(self.twins, self.connection.provider).oauth

    def write(self) -> dict[str, str]:
        """Write the configuration for a process of its own; its environment."""
        row = self.connection
        keys = {"name": row.name, "provider": row.provider, "environment": row.environment, "company": row.company}
        lines = [f'{key} = "{value}"' for key, value in {**keys, "base_url": row.base_url, **row.options}.items()]
        (self.folder / "connections.toml").write_text(
            "\n".join(["schema = 1", "[[connection]]", *lines]), encoding="utf-8"
        )
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SEIKYU_") and name not in {"DISPLAY", "WAYLAND_DISPLAY"}
        }
        return kept | {
            "SEIKYU_HOME": str(self.folder / "home"),
            "SEIKYU_CONFIG": str(self.folder),
            "SEIKYU_LANG": "en",
            "PYTHONUTF8": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TERM": "dumb",
            "COLUMNS": "120",
        }


@contextmanager
def open_desk(folder: Path, provider: str, **changes: str) -> Generator[Desk]:
    """Everything between Seikyu and the twin passes a wire that can be cut."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_world()) as (twins, wire):
        yield Desk(folder, twins, wire, Browser(), account(provider, wire.origin, **changes), portal)


@asynccontextmanager
async def _world() -> AsyncGenerator[tuple[Twins, Between]]:
    async with running_twins() as twins, standing_between(twins.origin) as wire:
        for twin in (twins.freee, twins.misoca, twins.invox):
            twin.oauth.ignores_loopback_port = True  # ports of their own, for tests run side by side
        yield twins, wire


class Held:
    """A request that is heard, and answered when it is let go; what comes after it passes."""

    def __init__(self, wire: Between) -> None:
        self._wire = wire
        self.begun, self._may_end = anyio.Event(), anyio.Event()

    async def __call__(self, peer: Any, request: bytes) -> None:
        answer = await self._wire.ask(request)
        self.begun.set()
        await self._may_end.wait()
        await peer.say(answer)

    async def let_go(self) -> None:
        self._may_end.set()
