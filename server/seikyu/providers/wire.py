"""One request and its answer: when the first byte leaves, and what may be read of what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpcore2
import httpx2

from seikyu.providers.answers import HttpAnswer, read_json
from seikyu.spec import Fence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT_TIMEOUT_S: Final = 5
_TIMEOUTS: Final = httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S).as_dict()


class Unreadable(Exception):
    """The answer was left unread: compressed against our wish, or larger than the cap."""


async def no_fence() -> None:
    """For a request that no claim guards."""


@dataclass(slots=True)
class Exchange:
    """What is known of one request so far; whoever gives up waiting reads it here."""

    fence: Fence = no_fence
    may_have_left: bool = False
    """Exact but for one case: true from the moment the first bytes are handed to the socket."""
    status: int | None = None
    """Of the answer, once its headers are here."""
    retry_after: str | None = None
    date: str | None = None

    async def run(self, transport: httpx2.AsyncHTTPTransport, request: httpx2.Request, *, body_cap: int) -> HttpAnswer:
        """Send `request`, and read the whole answer.

        Raises:
            httpx2.TransportError: the wire broke; `may_have_left` says on which side of the first byte.
            Unreadable: the answer was left unread.
            SeikyuError: what the fence said; nothing left.
        """
        request.extensions = {"timeout": _TIMEOUTS, "trace": self._trace}
        response = await transport.handle_async_request(request)
        try:
            self.status = response.status_code
            self.retry_after = response.headers.get("retry-after")
            self.date = response.headers.get("date")
            body = await _whole_body(response, body_cap)
        finally:
            await response.aclose()
        headers = response.headers
        return HttpAnswer(
            response.status_code,
            read_json(body),
            headers.get("content-type", ""),
            self.retry_after,
            self.date,
            challenge=headers.get("www-authenticate"),
            is_empty=not body,
        )

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore2's trace hook. Event names and order: httpcore2 2.16, `_async/http11.py`."""
        if event == "http11.send_request_headers.started" and not _is_for_a_proxy(info):
            await self.fence()
            self.may_have_left = True
        elif event == "http11.send_request_headers.failed" and _was_never_written(info):
            self.may_have_left = False


def _is_for_a_proxy(info: Mapping[str, Any]) -> bool:
    request: httpcore2.Request = info["request"]
    return request.method == b"CONNECT"


def _was_never_written(info: Mapping[str, Any]) -> bool:
    return isinstance(info["exception"], httpcore2.LocalProtocolError)  # an illegal header: h11 refused to write it


async def _whole_body(response: httpx2.Response, cap: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Unreadable("compressed although we asked for identity")  # unread, so that no bomb unfolds
    body = bytearray()
    chunks: AsyncIterator[bytes] = response.aiter_raw()
    async for chunk in chunks:
        body += chunk
        if len(body) > cap:
            raise Unreadable("larger than the cap")
    return bytes(body)
