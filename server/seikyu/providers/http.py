"""The one HTTP client. Reads may try again; a write leaves once, and its bytes decide what became of it.

Built on httpx2's transport rather than on its client: no redirects, no cookies carried from one account to
another, no netrc, no addresses in logs. One total deadline covers each call, whatever the peer trickles.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx2

from seikyu import __version__
from seikyu.errors import ProviderBusy, ProviderError, ProviderUnavailable, SeikyuError, Text
from seikyu.models import Clock, SystemClock
from seikyu.providers.addresses import build_url, checked_base_url, host_of
from seikyu.providers.answers import NOT_JSON, HttpAnswer
from seikyu.providers.bodies import Body, BodyChanged, body_with_document, json_body
from seikyu.providers.patience import backoff_s, retry_after_s
from seikyu.providers.wire import Exchange, Unreadable, no_fence
from seikyu.spec import Fence, Lost, NotSent
from seikyu.vault.deadlines import cut_off_after

if TYPE_CHECKING:
    import ssl

__all__ = [
    "NOT_JSON",
    "Body",
    "HttpAnswer",
    "HttpEdge",
    "Method",
    "Written",
    "body_with_document",
    "build_url",
    "checked_base_url",
    "json_body",
    "quiet_http_logs",
]

MIB: Final = 1024 * 1024
READ_TRIES: Final = 3
FORM_DEADLINE_S: Final = 10
_POOL: Final = httpx2.Limits(max_connections=16, max_keepalive_connections=4, keepalive_expiry=15)
_FRESH: Final = httpx2.Limits(max_connections=1, max_keepalive_connections=0)
_OK: Final = 200
_CREATED: Final = 201
_NO_CONTENT: Final = 204
_REQUEST_TIMEOUT: Final = 408
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500

_UNTRUSTED: Final = Text(
    "証明書を信頼できません（途中の機器が通信を検査しているか、時計が違います）",
    "its certificate is not trusted (something in between inspects what is sent, or a clock is wrong)",
)
_UNREADABLE: Final = Text("応答が読めない形です", "its answer cannot be read")
_WIRE_ERRORS: Final = (httpx2.TransportError, httpx2.InvalidURL, OSError, UnicodeError)
"""UnicodeError: a header that is not ASCII; raised before anything is connected."""

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Written: TypeAlias = HttpAnswer | NotSent | Lost
"""What became of a write. An `HttpAnswer` is a 200 or 201 in JSON, or a 4xx but 408, for the client to judge.

Of a form it is any whole answer.
"""


def quiet_http_logs() -> None:
    """Keep addresses and headers out of the logs, however talkative the root logger is."""
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A try of a read that gave nothing."""

    error: ProviderError
    is_worth_another: bool = False
    asked_to_wait_s: float | None = None


class HttpEdge:
    """All providers are reached through here; each keeps its own pool, so that one's bad day stays its own.

    `read_deadline_s` and `write_deadline_s` cover a whole call with its tries and waits; `body_cap` is the
    largest answer read, in bytes. `trust_env` lets the environment's proxy and certificate variables count.
    """

    def __init__(
        self,
        *,
        read_deadline_s: int = 20,
        write_deadline_s: int = 60,
        body_cap: int = 8 * MIB,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        trust_env: bool = False,
    ) -> None:
        self._read_deadline_s = read_deadline_s
        self._write_deadline_s = write_deadline_s
        self._body_cap = body_cap
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._trust_env = trust_env
        self._pools: dict[str, httpx2.AsyncHTTPTransport] = {}

    async def aclose(self) -> None:
        """Close the connections that reads keep."""
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.aclose()

    async def read(self, url: str, *, headers: Mapping[str, str], query: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
        """Read with GET: a 200 in JSON (or 204), or a 4xx for the client to judge.

        Up to 3 tries, all inside the deadline, for a broken connection, 408, 429 and 5xx. A `Retry-After` is
        obeyed when it fits into the time left; when it does not, we give up at once.

        Raises:
            ProviderBusy: still 429.
            ProviderUnavailable: no answer that can be trusted.
        """
        # a blank as %20: a `+` is one only to who reads a query as a form, and another number to anybody else
        address = f"{url}?{urlencode(query, quote_via=quote)}" if query else url
        with anyio.move_on_after(self._read_deadline_s) as scope:
            return await self._tries(address, headers, scope)
        raise _unavailable(url, Text("時間内に応答がありません", "no answer in time"))

    async def write(
        self, method: Method, url: str, *, headers: Mapping[str, str], body: Body | None, fence: Fence
    ) -> Written:
        """Send once, on a fresh connection: no retry, no redirect, one deadline.

        `fence` is awaited immediately before the first byte leaves. When it raises one of our errors, nothing
        leaves and the outcome is `NotSent`. After the first byte, only a 200 or 201 in JSON or a 4xx is an answer: a
        202 was put aside to be done or not, a 203 is some proxy's, a 206 is a part. Source: RFC 9110, 15.3.
        """
        content_type = {"Content-Type": "application/json"} if body else {}
        written = await self._once(
            method, url, {**headers, **content_type}, body, fence=fence, deadline_s=self._write_deadline_s
        )
        return _judge_write(url, written) if isinstance(written, HttpAnswer) else written

    async def post_form(
        self, url: str, *, headers: Mapping[str, str], form: Mapping[str, str], fence: Fence = no_fence
    ) -> Written:
        """Send a form once, as `write` does, within 10 s in which this process is awake: for token endpoints.

        Any whole answer is one: what it proves, a page or a redirect too, depends on what was asked.
        """
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        body = Body(urlencode(form).encode("ascii"))
        return await self._once("POST", url, {**headers, **content_type}, body, fence=fence, deadline_s=FORM_DEADLINE_S)

    async def _tries(self, url: str, headers: Mapping[str, str], scope: anyio.CancelScope) -> HttpAnswer:
        for tries in range(1, READ_TRIES + 1):
            outcome = await self._read_once(url, headers)
            if isinstance(outcome, HttpAnswer):
                return outcome
            wait_s = backoff_s(tries) if outcome.asked_to_wait_s is None else outcome.asked_to_wait_s
            is_over = tries == READ_TRIES or anyio.current_time() + wait_s >= scope.deadline
            if is_over or not outcome.is_worth_another:
                raise outcome.error
            await self._sleep(wait_s)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _read_once(self, url: str, headers: Mapping[str, str]) -> HttpAnswer | _Failed:
        exchange = Exchange()
        try:
            request = httpx2.Request("GET", url, headers=_complete(headers))
            answer = await exchange.run(self._pool(url), request, body_cap=self._body_cap)
        except Unreadable:
            return _Failed(_unavailable(url, _UNREADABLE))
        except _WIRE_ERRORS as error:
            return _Failed(_unavailable(url, _broken(error)), is_worth_another=True)
        return self._judge_read(url, answer, exchange.retry_after)

    def _judge_read(self, url: str, answer: HttpAnswer, retry_after: str | None) -> HttpAnswer | _Failed:
        wait_s = retry_after_s(retry_after, self._clock.now())
        if answer.status == _TOO_MANY_REQUESTS:
            return _Failed(_busy(url, wait_s), is_worth_another=True, asked_to_wait_s=wait_s)
        if answer.status >= _SERVER_ERRORS or answer.status == _REQUEST_TIMEOUT:
            error = _unavailable(url, _http_status(answer.status))
            return _Failed(error, is_worth_another=True, asked_to_wait_s=wait_s)
        is_whole = (answer.status == _OK and answer.is_json) or answer.status == _NO_CONTENT
        if is_whole or answer.is_client_error:
            return answer
        return _Failed(_unavailable(url, _not_usable(answer.status)))

    async def _once(
        self,
        method: Method,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        *,
        fence: Fence,
        deadline_s: int,
    ) -> Written:
        exchange = Exchange(fence)
        why = _sentence(url, Text(f"{deadline_s}秒以内に応答がありません", f"no answer within {deadline_s} s"))
        with cut_off_after(deadline_s):
            try:
                if body:
                    await body.check()
                return await self._on_fresh_connection(exchange, method, url, headers, body)
            except SeikyuError as error:  # the fence closed
                why = error.what + error.next_step
            except BodyChanged:
                why = Text("承認後に書類の中身が変わりました。", "The document changed after approval.")
            except Unreadable:
                why = _sentence(url, _UNREADABLE)
            except _WIRE_ERRORS as error:
                why = _sentence(url, _broken(error))
        return Lost(why, exchange.status) if exchange.may_have_left else NotSent(why)

    async def _on_fresh_connection(
        self, exchange: Exchange, method: Method, url: str, headers: Mapping[str, str], body: Body | None
    ) -> HttpAnswer:
        request = _request(method, url, headers, body)
        async with self._transport(url, _FRESH) as transport:
            return await exchange.run(transport, request, body_cap=self._body_cap)

    def _pool(self, url: str) -> httpx2.AsyncHTTPTransport:
        host = host_of(url)
        if host not in self._pools:
            self._pools[host] = self._transport(url, _POOL)
        return self._pools[host]

    def _transport(self, url: str, limits: httpx2.Limits) -> httpx2.AsyncHTTPTransport:
        proxy = _environment_proxy(url) if self._trust_env else None
        return httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=self._trust_env, limits=limits, proxy=proxy)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx2.create_ssl_context(trust_env=self._trust_env)  # loading the authorities takes some 20 ms


def _request(method: Method, url: str, headers: Mapping[str, str], body: Body | None) -> httpx2.Request:
    length = {"Content-Length": str(body.length)} if body else {}
    return httpx2.Request(
        method,
        url,
        headers={**_complete(headers), **length, "Connection": "close"},
        content=body.stream() if body else None,
    )


def _complete(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        "Accept": "application/json",
        **headers,
        "Accept-Encoding": "identity",
        "User-Agent": f"seikyu/{__version__}",
    }


def _judge_write(url: str, answer: HttpAnswer) -> HttpAnswer | Lost:
    is_refusal = answer.is_client_error and answer.status != _REQUEST_TIMEOUT
    if is_refusal or (answer.status in {_OK, _CREATED} and answer.is_json):
        return answer
    return Lost(_sentence(url, _not_usable(answer.status)), answer.status)


def _environment_proxy(url: str) -> str | None:
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _sentence(url: str, why: Text) -> Text:
    return Text(f"{host_of(url)}: {why.ja}。", f"{host_of(url)}: {why.en}.")


def _broken(error: BaseException) -> Text:
    name = type(error).__name__  # the message may quote what the peer sent
    if any(type(cause).__name__ == "SSLCertVerificationError" for cause in _causes(error)):
        return _UNTRUSTED
    return Text(f"接続に失敗しました({name})", f"the connection failed ({name})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _http_status(status: int) -> Text:
    return Text(f"サーバーエラー(HTTP {status})", f"it answered with a server error (HTTP {status})")


def _not_usable(status: int) -> Text:
    return Text(
        f"HTTP {status} の応答がAPIの形式ではありません",
        f"its answer (HTTP {status}) is not in the API's format",
    )


def _unavailable(url: str, why: Text) -> ProviderUnavailable:
    host = host_of(url)
    return ProviderUnavailable(
        Text(
            f"{host} から信頼できる応答を得られません: {why.ja}。",
            f"{host} gave no trustworthy answer: {why.en}.",
        ),
        Text("しばらくしてからもう一度お試しください。", "Try again in a while."),
    )


def _busy(url: str, wait_s: float | None) -> ProviderBusy:
    host = host_of(url)
    pause = 60 if wait_s is None else max(1, round(wait_s))
    return ProviderBusy(
        Text(f"{host} が混み合っています(HTTP 429)。", f"{host} asks to wait (HTTP 429)."),
        Text(f"{pause}秒ほどおいてもう一度お試しください。", f"Try again in about {pause} seconds."),
    )
