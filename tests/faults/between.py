"""A wire one can cut: stands between Seikyu and a twin, passes everything on, and plays a script where told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from providers.raw_server import Peer, content_length, http

Script: TypeAlias = Callable[[Peer, bytes], Awaitable[None]]
"""Plays instead of the twin: what hears the request whole and says anything, or nothing."""


@dataclass
class _Order:
    start: str
    script: Script
    left: int


@dataclass
class Between:
    """Counts what passes; `plays` orders scripts, served in order among those whose request line begins so."""

    twin: str
    port: int = 0
    requests: list[str] = field(default_factory=list[str])
    """Request lines without the version: `POST /mfkessai/v2/transactions`."""
    heads: list[bytes] = field(default_factory=list[bytes])
    bodies: list[bytes] = field(default_factory=list[bytes])
    stalled: set[str] = field(default_factory=set[str])
    """Requests whose line begins so are heard up to their body, and then no more."""
    _orders: list[_Order] = field(default_factory=list[_Order])
    _server: asyncio.Server | None = None
    _peers: set[Peer] = field(default_factory=set[Peer])
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plays(self, start: str, script: Script, *, times: int = 1) -> None:
        self._orders.append(_Order(start, script, times))

    def count(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.requests)

    def _script(self, line: str) -> Script | None:
        for order in self._orders:
            if order.left and line.startswith(order.start):
                order.left -= 1
                return order.script
        return None

    async def listen(self) -> None:
        """Take connections, on the same port as ever."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def deafen(self) -> None:
        """Take no more connections; nobody listens at the port."""
        assert self._server is not None
        self._server.close()

    async def aclose(self) -> None:
        self.deafen()
        for peer in self._peers:
            peer.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, task = Peer(reader, writer, bytearray()), asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._peers.add(peer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.serve(peer)
        writer.close()
        self._tasks.discard(task)
        self._peers.discard(peer)

    async def serve(self, peer: Peer) -> None:
        """One request on one connection; the answer ends it."""
        head = await peer.head()
        if any(head.startswith(start.encode()) for start in self.stalled):
            await peer.writer.wait_closed()
        request = head + await peer.reader.readexactly(content_length(head))
        line = head.split(b" HTTP/", 1)[0].decode()
        self.requests.append(line)
        self.heads.append(head)
        self.bodies.append(request[len(head) :])
        script = self._script(line)
        if script is not None:
            await script(peer, request)
        else:
            await peer.say(await self.ask(request))

    async def ask(self, request: bytes) -> bytes:
        """What the twin answers, to the end of its connection."""
        parts = urlsplit(self.twin)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def standing_between(twin: str) -> AsyncGenerator[Between]:
    between = Between(twin)
    await between.listen()
    try:
        yield between
    finally:
        await between.aclose()


def says(status: str, body: bytes = b"", *headers: str) -> Script:
    """Answers so, and the twin hears nothing."""
    typed = headers if any(line.lower().startswith("content-type") for line in headers) else (JSON, *headers)

    async def script(peer: Peer, _request: bytes) -> None:
        await peer.say(http(status, body, *typed))

    return script


JSON = "Content-Type: application/json"


async def resets(peer: Peer, _request: bytes) -> None:
    """Cuts the wire; the twin hears nothing."""
    peer.cut()


def altered(between: Between, change: Callable[[Any], Any]) -> Script:
    """The twin does its work, and its JSON is changed on the way back."""

    async def script(peer: Peer, request: bytes) -> None:
        head, _, body = (await between.ask(request)).partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode().split(" ", 1)[1]
        await peer.say(http(status, json.dumps(change(json.loads(body))).encode(), JSON))

    return script


def after(between: Between, then: Script) -> Script:
    """The twin does its work, its answer is lost, and `then` plays."""

    async def script(peer: Peer, request: bytes) -> None:
        await between.ask(request)
        await then(peer, request)

    return script
