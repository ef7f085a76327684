"""One socket on the loopback, served by uvicorn's HTTP/1.1 protocol inside the running event loop.

`uvicorn.Server` is left out: it captures signals and stops on a polling clock. Its protocol alone is
started and stopped here, without waiting for time to pass.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from seikyu.sandbox.delivery import Line, Message
from seikyu.sandbox.wire import Call

Respond = Callable[[Call, Line], Awaitable[None]]

_HOST: Final = "127.0.0.1"
_TRANSPORT: Final = "transport"


class TwinProtocol(H11Protocol):
    """Hands its transport to the application, so that a fault can cut the connection."""

    is_down: asyncio.Event
    peers: "set[TwinProtocol]"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}
        self.is_down = asyncio.Event()
        self.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.peers.discard(self)
        self.is_down.set()


class _Application:
    """The ASGI application: reads a request whole and passes it on."""

    def __init__(self, respond: Respond, limit_for: Callable[[str], int]) -> None:
        self._respond = respond
        self._limit_for = limit_for

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        line = Line(receive, send, scope["state"][_TRANSPORT])
        # cancelled or abandoned, there is nobody left to answer
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self._serve(scope, line)

    async def _serve(self, scope: dict[str, Any], line: Line) -> None:
        path: str = scope["path"]
        body, too_large = await line.read(self._limit_for(path))
        call = Call(
            method=scope["method"],
            path=path,
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
            body_too_large=too_large,
        )
        await self._respond(call, line)


@contextlib.asynccontextmanager
async def listening(respond: Respond, *, limit_for: Callable[[str], int], port: int) -> AsyncGenerator[int]:
    """Listen on 127.0.0.1 and yield the port; on leaving, cut every connection and end every handler.

    Raises:
        OSError: the port is taken.
    """
    state = ServerState()
    peers: set[TwinProtocol] = set()
    config = uvicorn.Config(
        _Application(respond, limit_for),
        http=TwinProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        timeout_keep_alive=75,  # above what clients keep, so that only a fault closes under a request
        log_config=None,
        date_header=False,
        server_header=False,
    )
    config.load()
    loop = asyncio.get_running_loop()

    def protocol() -> TwinProtocol:
        made = TwinProtocol(config=config, server_state=state, app_state={})
        made.peers = peers
        return made

    server = await loop.create_server(protocol, _HOST, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await _end(peers, state.tasks)
        await server.wait_closed()


async def _end(peers: set[TwinProtocol], handlers: set[asyncio.Task[None]]) -> None:
    for peer in (going := list(peers)):
        peer.transport.abort()
    for peer in going:
        await peer.is_down.wait()
    for task in (ending := list(handlers)):
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
