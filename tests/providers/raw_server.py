"""A server made of bytes: says exactly what a test tells it to, and remembers what it heard."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(eq=False)
class Peer:
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: bytearray

    async def request(self) -> bytes:
        """A whole request: its head, and as many bytes as its Content-Length says."""
        head = await self.head()
        return head + await self._exactly(content_length(head))

    async def head(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.heard += head
        return head

    async def until_end(self) -> None:
        """Hear everything until the other side closes."""
        while chunk := await self.reader.read(65536):
            self.heard += chunk

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()

    async def _exactly(self, size: int) -> bytes:
        body = await self.reader.readexactly(size)
        self.heard += body
        return body


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawServer:
    """What was heard, connection by connection."""

    port: int = 0
    heard: list[bytearray] = field(default_factory=list[bytearray])
    ended: list[asyncio.Event] = field(default_factory=list[asyncio.Event])
    """Set when the script of a connection is over."""
    accepted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def raw_server(*scripts: Script) -> AsyncGenerator[RawServer]:
    """Plays the n-th script on the n-th connection, and the last one on all that follow."""
    state, peers = RawServer(), list[Peer]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = scripts[min(len(state.heard), len(scripts) - 1)]
        peer, ended = Peer(reader, writer, bytearray()), asyncio.Event()
        peers.append(peer)
        state.heard.append(peer.heard)
        state.ended.append(ended)
        state.accepted.set()
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(peer)
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for peer in peers:
            peer.cut()
        for ended in state.ended:
            await ended.wait()


def answering(*answers: bytes) -> Script:
    """Answers one request after the other on the same connection, then closes it."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.say(answer)

    return script


async def resetting(peer: Peer) -> None:
    """Hears the request and cuts the wire."""
    await peer.request()
    peer.cut()


async def no_tls(peer: Peer) -> None:
    """Answers a handshake in plain text."""
    await peer.reader.read(1)
    await peer.say(http("400 Bad Request"))


async def stalling(peer: Peer) -> None:
    """Hears the head of the request and then no more, without closing."""
    await peer.head()
    await peer.writer.wait_closed()


async def silent(peer: Peer) -> None:
    """Hears everything and never answers."""
    await peer.until_end()


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer; `status` with its phrase, such as `200 OK`."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0
