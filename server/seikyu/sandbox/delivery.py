"""How an answer leaves the twin: whole, or in one of the ways in which networks and proxies spoil it."""

import asyncio
import functools
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.sandbox.wire import Answer, Call, Json, dump_json, html_answer, json_answer, parse_json

Message = MutableMapping[str, Any]

BOMB_BYTES: Final = 128 * 1024 * 1024
_CHUNK: Final = b" " * 65_536
_PROMISED_TOO_MUCH: Final = 512


@dataclass(frozen=True, slots=True)
class Line:
    """One request's way back: the ASGI callables, and the socket below them, to cut it."""

    receive: Callable[[], Awaitable[Message]]
    send: Callable[[Message], Awaitable[None]]
    transport: asyncio.Transport
    now: Callable[[], datetime] | None = None
    """What the Date header tells; without it there is none."""

    async def read(self, limit_bytes: int) -> tuple[bytes, bool]:
        """Return the body up to `limit_bytes` and whether there was more; the rest is read and dropped.

        Raises:
            ConnectionError: the client hung up before the end.
        """
        body, total, more = bytearray(), 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client hung up")
            part: bytes = message.get("body", b"")
            total += len(part)
            body += part[: max(0, limit_bytes - len(body))]
            more = bool(message.get("more_body", False))
        return bytes(body), total > limit_bytes

    async def start(self, answer: Answer, *extra: tuple[str, str]) -> None:
        dated = () if self.now is None else (("date", format_datetime(self.now(), usegmt=True)),)
        headers = (("content-type", answer.content_type), *dated, *answer.headers, *extra)
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        await self.send({"type": "http.response.start", "status": answer.status, "headers": pairs})

    async def part(self, body: bytes, *, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def cut(self) -> None:
        """Abort the TCP connection, and return when it is down."""
        self.transport.abort()
        await self._until_down()

    async def close(self) -> None:
        """Close the TCP connection after what was written has left."""
        self.transport.close()
        await self._until_down()

    async def _until_down(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


async def deliver(line: Line, answer: Answer) -> None:
    await line.start(answer, ("content-length", str(len(answer.body))))
    await line.part(answer.body, more=False)


async def deliver_spoiled(line: Line, answer: Answer, fault: Fault) -> None:
    """Send `answer` in the way the fault says, for the faults that are about the sending."""
    match fault.kind:
        case FaultKind.SLOW_BODY:
            await _drip(line, answer, float(fault.seconds))
        case FaultKind.TRUNCATED:
            await line.start(answer, ("content-length", str(len(answer.body) + _PROMISED_TOO_MUCH)))
            await line.part(answer.body, more=True)
            await line.close()
        case FaultKind.HUGE_BODY:
            await _pour(line, answer)
        case FaultKind.GZIP_BOMB:
            bomb = await asyncio.to_thread(_bomb)
            await deliver(line, replace(answer, body=bomb, headers=(("content-encoding", "gzip"),)))
        case _:
            await deliver(line, answer)


async def _drip(line: Line, answer: Answer, seconds: float) -> None:
    await line.start(answer, ("content-length", str(len(answer.body))))
    for byte in answer.body:
        if line.transport.is_closing():
            return
        await line.part(bytes([byte]), more=True)
        await asyncio.sleep(seconds)
    await line.part(b"", more=False)


async def _pour(line: Line, answer: Answer) -> None:
    await line.start(answer)  # without a length the body is chunked
    while not line.transport.is_closing():
        await line.part(_CHUNK, more=True)
        await asyncio.sleep(0)  # lets the socket see that the client hung up


@functools.cache
def _bomb() -> bytes:
    squeeze = zlib.compressobj(level=6, wbits=31)
    block = b" " * (1024 * 1024)
    return b"".join(squeeze.compress(block) for _ in range(BOMB_BYTES // len(block))) + squeeze.flush()


def falsify(answer: Answer, fault: Fault, call: Call) -> Answer:
    """Return the answer with the fault's untruth in it; unchanged for faults about the sending."""
    if fault.kind is FaultKind.REDIRECT:
        return _elsewhere(call, fault.status or 302)
    if fault.kind in _CHANGES:
        return _rewritten(answer, _CHANGES[fault.kind])
    return _LIES.get(fault.kind, answer)


def _elsewhere(call: Call, status: int) -> Answer:
    # the other name leads to this same server, so that a client that follows is seen in the request counts
    port = urlsplit(f"//{call.headers.get('host', '')}").port
    location = f"http://localhost:{port}{call.path}"
    return Answer(status, b"", "text/plain", (("location", location),))


def _rewritten(answer: Answer, change: Callable[[dict[str, Json]], None]) -> Answer:
    document = parse_json(answer.body)
    if not isinstance(document, dict):
        return answer
    copy: dict[str, Json] = dict(document)
    if isinstance(items := document.get("items"), list):
        copy["items"] = [_changed(item, change) for item in items]
    else:
        change(copy)
    return replace(answer, body=dump_json(copy).encode())


def _changed(item: Json, change: Callable[[dict[str, Json]], None]) -> Json:
    if not isinstance(item, dict):
        return item
    copy: dict[str, Json] = dict(item)
    change(copy)
    return copy


def _with_other_amount(document: dict[str, Json]) -> None:
    amount = document.get("amount")
    if isinstance(amount, int):
        document["amount"] = amount + 1
    elif "id" in document:
        document["id"] = "0000-0000"


def _without_id(document: dict[str, Json]) -> None:
    document.pop("id", None)


_LIES: Final[Mapping[FaultKind, Answer]] = {
    FaultKind.WRONG_JSON: json_answer(200, {"ok": True, "result": [1, 2, 3]}),
    FaultKind.BROKEN_JSON: Answer(200, b'{"id": "7679-'),
    FaultKind.HTML_200: html_answer(200, "Scheduled maintenance"),
    FaultKind.TOKEN_HTML: html_answer(200, "Please log in"),
    FaultKind.REFUSE_TOKEN: json_answer(400, {"error": "invalid_grant"}),
}
_CHANGES: Final[Mapping[FaultKind, Callable[[dict[str, Json]], None]]] = {
    FaultKind.MISMATCH: _with_other_amount,
    FaultKind.DROP_ID: _without_id,
}
