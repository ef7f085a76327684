"""Our side of the storm: homes that share a database, and the processes in them that use one connection."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
from pydantic import SecretStr

from crash.upstream import Wire
from seikyu.app import Home
from seikyu.errors import SeikyuError
from seikyu.models import Clock, Connection, SystemClock
from seikyu.settings import Settings, read_settings
from seikyu.store.database import Row, Store
from seikyu.vault.credentials import BearerCredential
from seikyu.vault.grants import TokenAnswer
from seikyu.vault.keys import FILE_NAME, create_key_file, read_key_ring
from seikyu.vault.secrets import Vault
from storm.provider import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, Provider

NAME: Final = "invox-storm"
PAUSE_S: Final = 0.05
"""Between two calls of a worker, so that the load is bounded."""


@dataclass(frozen=True, slots=True)
class Site:
    """One home. Replicas have homes of their own, one database and one master key."""

    folder: Path
    database_url: SecretStr | None

    def settings(self) -> Settings:
        """As the environment would give them to this process."""
        os.environ["SEIKYU_HOME"] = str(self.folder)
        if self.database_url is not None:
            os.environ["SEIKYU_DATABASE_URL"] = self.database_url.get_secret_value()
        return read_settings(self.folder / "config")

    @property
    def connection(self) -> Connection:
        (row,) = self.settings().connections
        return row

    def vault(self, clock: Clock) -> Vault:
        settings = self.settings()
        return Vault(Store(settings.store_place), clock, lambda: read_key_ring(settings.home, {}))

    def row(self) -> Row:
        """The stored grant, sealed."""
        store = Store(self.settings().store_place)
        try:
            with store.read() as tx:
                return tx.one("secret", connection=NAME) or {}
        finally:
            store.close()

    def log_in(self, answer: TokenAnswer, *, aged_s: int = 0) -> None:
        """Store a new grant, as if it had been given `aged_s` seconds ago."""
        vault = self.vault(_Behind(aged_s))
        try:
            vault.put_grant(self.connection, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=answer)
        finally:
            vault.store.close()


@dataclass(frozen=True, slots=True)
class _Behind:
    seconds: int

    def now(self) -> datetime:
        return SystemClock().now() - timedelta(seconds=self.seconds)


def make_sites(folder: Path, provider: Provider, urls: list[SecretStr | None]) -> list[Site]:
    """One home for each address of a database."""
    sites = [Site(folder / f"site-{number}", url) for number, url in enumerate(urls)]
    for site in sites:
        (site.folder / "config").mkdir(parents=True, mode=0o700)
        site.folder.chmod(0o700)
        accounts = site.folder / "config" / "connections.toml"
        accounts.write_text(_connections(provider), encoding="utf-8")
        accounts.chmod(0o600)
        if site is sites[0]:
            create_key_file(site.folder)
        else:
            shutil.copy(sites[0].folder / FILE_NAME, site.folder / FILE_NAME)
    return sites


def _connections(provider: Provider) -> str:
    return f"""schema = 1
[[connection]]
name = "{NAME}"
provider = "invox"
environment = "production"
company = "株式会社青葉商事"
base_url = "{provider.base_url}"
client_id = "{CLIENT_ID}"
redirect_uri = "{REDIRECT_URI}"
"""


def work(site: Site, end: socket.socket) -> None:
    """Use the connection all the time, as tools do, and say each second how it went; until the wire is cut."""
    anyio.run(_working, Home(site.settings()), Wire(end))


async def _working(home: Home, wire: Wire) -> None:
    credential, address = _credential(home), f"{_root(home)}/me"
    counted: Counter[str] = Counter()
    told_at = time.monotonic()
    while True:
        counted[await _use(home, credential, address)] += 1
        if time.monotonic() - told_at >= 1:
            wire.say(**counted)
            counted.clear()
            told_at = time.monotonic()
        await anyio.sleep(PAUSE_S)


async def _use(home: Home, credential: BearerCredential, address: str) -> str:
    """One call of the provider: `served`, `stale` (refused although renewed), or our error's code."""
    try:
        name, value = await credential.header()
        answer = await home.edge.read(address, headers={name: value})
        if answer.status == 401:  # expired on the way, as 2 s are short
            name, value = await credential.header(refused=value)
            answer = await home.edge.read(address, headers={name: value})
    except SeikyuError as error:
        return error.code
    return "served" if answer.is_success else "stale"


def ask(site: Site, end: socket.socket, *, times: int) -> None:
    """A process that has just started: what it knows of the login, how soon, and what comes of asking for a token."""
    anyio.run(_asking, Home(site.settings()), Wire(end), times)


async def _asking(home: Home, wire: Wire, times: int) -> None:
    begun = time.monotonic_ns()
    said = await _use_quietly(home)
    took_ms = (time.monotonic_ns() - begun) // 1_000_000
    state = home.logins().state(home.settings.connections[0])
    wire.say(said=said, state=state, took_ms=took_ms, again=[await _use_quietly(home) for _ in range(times)])


async def _use_quietly(home: Home) -> str:
    try:
        await _credential(home).header()
    except SeikyuError as error:
        return error.code
    return "token"


def _credential(home: Home) -> BearerCredential:
    opened: Any = home.opened  # handed to clients only
    return BearerCredential(opened.custodian, home.settings.connections[0])


def _root(home: Home) -> str:
    return home.settings.connections[0].base_url.removesuffix("/api/public")
