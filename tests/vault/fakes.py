"""What stands around the vault in its tests: a clock to set, a provider with a script, a strict token endpoint."""

import base64
import http.client
import json
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode

import anyio.to_thread
from pydantic import SecretBytes, SecretStr

from seikyu.errors import SeikyuError, Text
from seikyu.providers.wire import no_fence
from seikyu.spec import Connection, Fence
from seikyu.vault.grants import TokenAnswer, TokenRefused, TokenResult, TokenUnknown
from seikyu.vault.keys import KeyRing, MasterKey

START = datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
LIFE_S = 21_600
CLIENT_ID = "client-of-ours"
CLIENT_SECRET = "cs-0f9a2c5d7e"
API_KEY = "mfk-7b1e55c0de"
FREEE = Connection("freee-tokyo", "freee", "sandbox", "123", "http://127.0.0.1:1")
MISOCA = Connection("misoca-main", "misoca", "sandbox", "45", "http://127.0.0.1:1")
MFK = Connection("mfk-main", "mfkessai", "sandbox", "seikyu", "http://127.0.0.1:1")

LOST = TokenUnknown(Text("応答がありません。", "No answer."), was_sent=True)
PUT_OFF = TokenUnknown(Text("混雑しています。", "Too busy."), was_sent=True, is_put_off=True)
UNSENT = TokenUnknown(Text("つながりません。", "No connection."), was_sent=False)


@dataclass
class SetClock:
    """Stands still until it is set."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def ring(seed: int = 1, *retired: int) -> KeyRing:
    return KeyRing(_key(seed), tuple(_key(other) for other in retired))


def _key(seed: int) -> MasterKey:
    return MasterKey(SecretBytes(bytes([seed]) * 32))


def tokens(number: int, *, scope: str | None = "read write", refresh: bool = True) -> TokenAnswer:
    refresh_token = SecretStr(f"refresh-{number}-5ec4e7") if refresh else None
    return TokenAnswer(SecretStr(f"access-{number}-5ec4e7"), LIFE_S, refresh_token, scope)


Step = TokenResult | Callable[[], Awaitable[TokenResult]] | Exception


@dataclass
class Script:
    """A provider that answers what it was told to, in turn; a call beyond its script is a fault of ours."""

    steps: list[Step] = field(default_factory=list[Step])
    sent: list[str] = field(default_factory=list[str], repr=False)
    before_sending: Callable[[], Awaitable[None]] = no_fence
    """What happens between the lease and the first byte."""

    async def __call__(
        self,
        connection: Connection,
        *,
        client_id: str,
        client_secret: SecretStr,
        refresh_token: SecretStr,
        fence: Fence,
    ) -> TokenResult:
        assert (client_id, client_secret.get_secret_value()) == (CLIENT_ID, CLIENT_SECRET), connection
        await self.before_sending()
        try:
            await fence()
        except SeikyuError as error:
            return TokenUnknown(error.what, was_sent=False)
        self.sent.append(refresh_token.get_secret_value())
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, TokenAnswer | TokenRefused | TokenUnknown):
            return step
        return await step()


class Dropped(Exception):
    """The request ends unanswered and without effect."""


class StrictServer(ThreadingHTTPServer):
    """A token endpoint with rotation and reuse detection: a refresh token used twice ends its family.

    Source: RFC 9700, 4.14.2. `before` runs ahead of anything, `after` between the rotation and the answer.
    """

    daemon_threads = True

    def __init__(self, *, life_s: int = LIFE_S) -> None:
        super().__init__(("127.0.0.1", 0), _TokenEndpoint)
        self.life_s = life_s
        self.requests = 0
        self.reuses = 0
        self.is_family_dead = False
        self.before: Callable[[], None] = _nothing
        self.after: Callable[[], None] = _nothing
        self.current = 0
        self._mutex = threading.Lock()

    @property
    def port(self) -> int:
        return self.server_port

    def login(self) -> TokenAnswer:
        return TokenAnswer(SecretStr("access-0"), self.life_s, SecretStr("refresh-0"), "read write")

    def answer(self, refresh_token: str) -> tuple[int, dict[str, Any]]:
        with self._mutex:
            self.requests += 1
            if self.is_family_dead or refresh_token != f"refresh-{self.current}":
                self.reuses += 1
                self.is_family_dead = True
                return 400, {"error": "invalid_grant"}
            self.current += 1
            number = self.current
        return 200, {
            "access_token": f"access-{number}",
            "refresh_token": f"refresh-{number}",
            "expires_in": self.life_s,
            "scope": "read write",
            "token_type": "bearer",
        }


def _nothing() -> None:
    pass


class _TokenEndpoint(BaseHTTPRequestHandler):
    @property
    def _strict(self) -> StrictServer:
        assert isinstance(self.server, StrictServer)
        return self.server

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        try:
            self._strict.before()
        except Dropped:
            self.close_connection = True
            return
        status, answer = self._decide(form)
        self._strict.after()
        try:
            self._say(status, json.dumps(answer).encode())
        except ConnectionError:
            self.close_connection = True  # the asker was killed

    def _decide(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if self.headers["Authorization"] != _basic() or form["grant_type"] != ["refresh_token"]:
            return 401, {"error": "invalid_client"}
        [refresh_token] = form["refresh_token"]
        return self._strict.answer(refresh_token)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the parent's
        del format, args


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()


@dataclass(frozen=True)
class HttpRefresh:
    """The token call, over a real socket."""

    port: int

    async def __call__(
        self,
        connection: Connection,
        *,
        client_id: str,
        client_secret: SecretStr,
        refresh_token: SecretStr,
        fence: Fence,
    ) -> TokenResult:
        del connection
        await fence()
        pair = f"{client_id}:{client_secret.get_secret_value()}"
        return await anyio.to_thread.run_sync(partial(self._post, pair, refresh_token.get_secret_value()))

    def _post(self, pair: str, refresh_token: str) -> TokenResult:
        form = urlencode({"grant_type": "refresh_token", "refresh_token": refresh_token})
        headers = {
            "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            wire.request("POST", "/token", form, headers)
            answer = wire.getresponse()
            members = json.loads(answer.read())
        finally:
            wire.close()
        if answer.status != http.HTTPStatus.OK:
            return TokenRefused(members["error"])
        return TokenAnswer(
            SecretStr(members["access_token"]),
            members["expires_in"],
            SecretStr(members["refresh_token"]),
            members["scope"],
        )


def is_plain(error: SeikyuError) -> bool:
    """Whether it says one thing that happened and one thing to do, in both languages."""
    texts = (error.what, error.next_step)
    return all(text.ja.count("。") == 1 and text.ja.endswith("。") and text.en.endswith(".") for text in texts)


def told(error: BaseException) -> str:
    """All that a log could hold of `error`: its traceback, and the variables of every frame of ours."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in frames.stack if "/seikyu/vault/" in frame.filename]
    frames.stack = traceback.StackSummary.from_list(ours)
    assert ours, "not raised by us"
    return "".join(frames.format()) + repr(error)
