"""The twins in a thread of their own, and an installation in a folder that talks to them from this process."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import threading
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
from click.testing import CliRunner, Result
from pydantic import SecretStr

from gate.stage import POLICY
from seikyu.app import Home, find_patient, open_house, open_to_stop
from seikyu.sandbox import freee
from seikyu.sandbox.invox import COMPANY_CODE
from seikyu.sandbox.invox_oauth import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.sandbox.twins import Twins, keep_twins
from seikyu.surfaces.cli.commands import build
from seikyu.vault.grants import TokenAnswer
from seikyu.vault.keys import create_key_file
from seikyu.vault.secrets import Vault

MFK: Final = "mfk-main"
INVOX: Final = "invox-main"
FREEE: Final = "freee-main"
OTHER_KEY: Final = base64.urlsafe_b64encode(b"seikyu-another-key-of-a-test-001").decode().rstrip("=")
"""A master key that opens nothing here."""


@contextmanager
def twins_beside() -> Generator[Twins]:
    """Running twins on a real socket, whose loop is not the test's."""
    heard: list[Any] = []
    is_ready = threading.Event()

    async def keep() -> None:
        def ready(twins: Twins) -> None:
            heard.extend((twins, asyncio.get_running_loop(), asyncio.current_task()))
            is_ready.set()

        with suppress(asyncio.CancelledError):
            await keep_twins(0, ready=ready)

    thread = threading.Thread(target=lambda: asyncio.run(keep()))
    thread.start()
    assert is_ready.wait(10)
    twins, loop, task = heard
    try:
        yield twins
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


class Installation:
    """One installation as a person has it: two folders and some variables."""

    def __init__(self, folder: Path, twins: Twins | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.config = folder / "config"
        self.variables: dict[str, str] = {}
        origin = "http://127.0.0.1:9" if twins is None else twins.origin
        self.mfk_url, self.invox_url, self.freee_url = f"{origin}/mfkessai/v2", f"{origin}/invox", f"{origin}/freee"

    def build(self) -> None:
        self.config.mkdir()
        self.home.mkdir(mode=0o700)
        (self.config / "policy.toml").write_text(POLICY, encoding="utf-8")
        self.write_connections()
        create_key_file(self.home)

    def write_connections(self, *more: str, company: str = "株式会社テスト") -> None:
        (self.config / "connections.toml").write_text(
            f"""
schema = 1
[[connection]]
name = "{MFK}"
provider = "mfkessai"
environment = "sandbox"
company = "{company}"
base_url = "{self.mfk_url}"
[[connection]]
name = "{INVOX}"
provider = "invox"
environment = "sandbox"
company = "{company}"
company_code = "{COMPANY_CODE}"
client_id = "{CLIENT_ID}"
redirect_uri = "{REDIRECT_URI}"
base_url = "{self.invox_url}"
{"".join(more)}""",
            encoding="utf-8",
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SEIKYU_HOME": str(self.home),
            "SEIKYU_CONFIG": str(self.config),
            "SEIKYU_REQUESTER": "suzuki",
            "SEIKYU_LANG": "en",
            "HOME": str(self.folder),
            **self.variables,
        }

    def run(self, *arguments: str) -> Result:
        """A `seikyu` command in this process, as its `main` runs it."""
        return CliRunner(env=self.environment).invoke(build(open_house, find_patient, open_to_stop), arguments)

    @contextmanager
    def opened(self) -> Generator[Home]:
        """The rooms of this installation, for what no command does."""
        with CliRunner(env=self.environment).isolation():
            home = open_house()
        try:
            yield home
        finally:
            home.close()

    def snapshot(self) -> dict[str, tuple[int, int, bytes]]:
        """Everything in both folders: its mode, when it was changed, and its content."""
        return {
            str(path.relative_to(self.folder)): (
                path.lstat().st_mode,
                path.lstat().st_mtime_ns,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted(self.folder.rglob("*"))
        }

    def change(self, statement: str) -> None:
        """Change the database behind the house's back."""
        with closing(sqlite3.connect(self.home / "seikyu.db")) as raw, raw:
            raw.execute(statement)

    def connect(self) -> None:
        """Both accounts, with logins that work."""
        self.put_key(API_KEY)
        self.put_grant(tokens(self.invox_url))

    def put_key(self, key: str) -> None:
        with self.opened() as home:
            connection = home.settings.connection(MFK)
            assert connection is not None
            vault_of(home).put_api_key(connection, SecretStr(key))

    def put_grant(self, answer: TokenAnswer, *, days_ago: int = 0) -> None:
        self._put_grant(INVOX, CLIENT_ID, CLIENT_SECRET, answer, days_ago)

    def put_freee_grant(self, answer: TokenAnswer) -> None:
        self._put_grant(FREEE, freee.CLIENT_ID, freee.CLIENT_SECRET, answer, 0)

    def _put_grant(self, name: str, client_id: str, secret: str, answer: TokenAnswer, days_ago: int) -> None:
        with self.opened() as home:
            connection = home.settings.connection(name)
            assert connection is not None
            vault = vault_of(home, days_ago)
            vault.put_grant(connection, client_id=client_id, client_secret=SecretStr(secret), answer=answer)

    def write_freee(self, company: str) -> None:
        """One connection, at freee."""
        (self.config / "connections.toml").write_text(
            f"""
schema = 1
[[connection]]
name = "{FREEE}"
provider = "freee"
environment = "production"
company = "{company}"
client_id = "{freee.CLIENT_ID}"
redirect_uri = "{freee.REDIRECT_URI}"
base_url = "{self.freee_url}"
""",
            encoding="utf-8",
        )


class Past:
    """A clock that is some days slow."""

    def __init__(self, days: int) -> None:
        self._days = days

    def now(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=self._days)


def vault_of(home: Home, days_ago: int = 0) -> Vault:
    return Vault(home.rooms().store, Past(days_ago), home.key_ring)


def tokens(invox_url: str, *, has_refresh: bool = True) -> TokenAnswer:
    """What the twin of invox issues to somebody who consents."""
    form = {"client_id": CLIENT_ID}
    basic = (CLIENT_ID, CLIENT_SECRET)
    said = _issued(f"{invox_url}/oauth2/authorize/", f"{invox_url}/oauth2/token/", REDIRECT_URI, form, basic)
    refresh = SecretStr(said["refresh_token"]) if has_refresh else None
    return TokenAnswer(SecretStr(said["access_token"]), said["expires_in"], refresh, said["scope"])


def freee_tokens(freee_url: str) -> TokenAnswer:
    """What the twin of freee issues to somebody who consents for its company."""
    form = {"client_id": freee.CLIENT_ID, "client_secret": freee.CLIENT_SECRET}
    urls = (f"{freee_url}/public_api/authorize", f"{freee_url}/public_api/token")
    said = _issued(*urls, freee.REDIRECT_URI, form, None)
    refresh, company = SecretStr(said["refresh_token"]), str(said["company_id"])
    return TokenAnswer(SecretStr(said["access_token"]), said["expires_in"], refresh, said["scope"], company)


def _issued(
    authorize: str, token: str, redirect_uri: str, form: Mapping[str, str], basic: tuple[str, str] | None
) -> Mapping[str, Any]:
    asked = {
        "response_type": "code",
        "client_id": form["client_id"],
        "redirect_uri": redirect_uri,
        "scope": "read write",
        "state": "x",
    }
    with httpx2.Client(trust_env=False, follow_redirects=False) as browser:
        sent_to = browser.get(authorize, params=asked).headers["location"]
        (code,) = parse_qs(urlsplit(sent_to).query)["code"]
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, **form}
        said: Mapping[str, Any] = browser.post(token, data=grant, auth=basic or httpx2.USE_CLIENT_DEFAULT).json()
    return said
