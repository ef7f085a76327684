"""MCP over HTTP, at `/mcp`, with our other pages beside it and the doors in front of all of them."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, TypeAlias

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from seikyu.errors import ConfigurationError, Text
from seikyu.surfaces.doors import Doors
from seikyu.surfaces.mcp.one_reading import OneReading
from seikyu.surfaces.mcp.pulse import Pulse
from seikyu.surfaces.mcp.stdio import cancel_on_signal
from seikyu.surfaces.mcp.visitors import Visitor, make_room

Lifespan: TypeAlias = Callable[[Starlette], AbstractAsyncContextManager[None]]
Health: TypeAlias = Callable[[], Mapping[str, Any]]
"""Numbers for whoever watches the server, without a secret or a name; under `why`, what is wrong."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request to `/mcp`; documents travel as paths or handles, never in a call."""

MAX_SESSIONS: Final = 1000
"""Open connections of the handshake era, about 40 KB each; the next one is answered 503."""

GRACE_S: Final = 10
"""How long open requests may finish after SIGTERM or Ctrl+C."""

_BACKLOG: Final = 64
"""Connections that are taken at one go; the event loop of Python 3.11 floods the log when files run out half-way."""


def build_app(
    server: Server[Any],
    *,
    extra_routes: Sequence[BaseRoute] = (),
    hosts: Iterable[str],
    origins: Iterable[str],
    public_hosts: Iterable[str] = (),
    lifespan: Lifespan | None = None,
    health: Health = dict,
) -> Starlette:
    """One app: `/mcp`, `/healthz` and `extra_routes`, all behind `Doors(hosts, origins, public_hosts)`.

    `lifespan` opens what the routes need; it outlives every MCP session. `/healthz` says whether the
    process keeps up, and what `health` answers.
    An app can be served once only.
    """
    pulse = Pulse()
    sessions = StreamableHTTPSessionManager(
        server,
        max_request_body_size=MAX_BODY,
        max_sessions=MAX_SESSIONS,
        # the doors have looked at Host and Origin already, more strictly
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )

    @asynccontextmanager
    async def opened(app: Starlette) -> AsyncGenerator[None, None]:
        async with lifespan(app) if lifespan else nullcontext(), sessions.run(), anyio.create_task_group() as tasks:
            tasks.start_soon(pulse.beat)
            yield
            tasks.cancel_scope.cancel()

    return Starlette(
        routes=[
            Route("/mcp", endpoint=OneReading(StreamableHTTPASGIApp(sessions), max_body=MAX_BODY)),
            Route("/healthz", endpoint=_healthz(health, pulse), methods=["GET"]),
            *extra_routes,
        ],
        middleware=[
            Middleware(Doors, hosts=frozenset(hosts), origins=frozenset(origins), public_hosts=frozenset(public_hosts))
        ],
        lifespan=opened,
    )


async def serve_http(app: Starlette, host: str, port: int, *, on_ready: Callable[[int], None]) -> None:
    """Serve `app` at a loopback address until SIGTERM, SIGINT or cancellation; open requests may finish.

    `on_ready` is called with the port once requests are answered; port 0 takes a free one.

    Raises:
        ConfigurationError: the address is not this machine's own, or the port is taken.
    """
    await serve_socket(app, listen(host, port), on_ready=on_ready)


async def serve_socket(app: Starlette, listener: socket.socket, *, on_ready: Callable[[int], None]) -> None:
    """Like `serve_http`, on a socket that `listen` has opened; closes it."""
    make_room()
    config = uvicorn.Config(
        app,
        http=Visitor,
        backlog=_BACKLOG,
        ws="none",
        lifespan="on",
        log_config=None,  # uvicorn's own would write to stdout
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn_server = _Uvicorn(config, on_ready=lambda: on_ready(listener.getsockname()[1]))
    with listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_when_told, uvicorn_server)
            with anyio.CancelScope(shield=True):  # cancelled half-way, uvicorn would not close the app
                await uvicorn_server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()


def check_bind(host: str) -> str:
    """The address to listen at for `host`: a loopback address; `localhost` is 127.0.0.1.

    Raises:
        ConfigurationError: others could reach it, and there is no authentication yet.
    """
    address = "127.0.0.1" if host.lower() == "localhost" else host.strip("[]")
    if not _is_loopback(address):
        raise ConfigurationError(
            Text(
                f"{host} では待ち受けできません。認証がまだないため、外へは公開できません。",
                f"Seikyu cannot listen at {host}: without authentication it stays on this machine.",
            ),
            Text("--http 127.0.0.1:8787 を使ってください。", "Use --http 127.0.0.1:8787."),
        )
    return address


def listen(host: str, port: int) -> socket.socket:
    """A listening socket at a loopback address; port 0 takes a free one.

    Raises:
        ConfigurationError: the address is not this machine's own, or the port is taken.
    """
    address = check_bind(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            Text(
                f"{host} のポート {port} で待ち受けできません（{reason}）。",
                f"Seikyu cannot listen at {host}, port {port} ({reason}).",
            ),
            Text("--http で別のポートを指定してください。", "Choose another port with --http."),
        ) from error


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_loopback if parsed.version == 4 else parsed == ipaddress.IPv6Address("::1")  # noqa: PLR2004


def _healthz(health: Health, pulse: Pulse) -> Callable[[Request], Awaitable[JSONResponse]]:
    """Asks `health` in a thread of its own: it may look at a disk, and every other thread may be taken."""
    own = anyio.CapacityLimiter(1)

    async def healthz(_: Request) -> JSONResponse:
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        complaints = pulse.complaints()
        known = dict(await anyio.to_thread.run_sync(health, limiter=own))
        complaints += known.pop("why", [])
        said = {"status": "degraded", "why": complaints} if complaints else {"status": "ok"}
        return JSONResponse({**said, **known}, headers=headers)

    return healthz


async def _stop_when_told(server: uvicorn.Server) -> None:
    """Ask uvicorn to finish at the first signal or when cancelled, and to drop what is open at the second."""
    try:
        with anyio.CancelScope() as first:
            await cancel_on_signal(first)
    finally:
        server.should_exit = True
    with anyio.CancelScope() as second:
        await cancel_on_signal(second)
    server.force_exit = True


class _Uvicorn(uvicorn.Server):
    """uvicorn that says when it is ready, and leaves the signals to us.

    Its own handlers raise the signal again once it is done, which would kill the process before it has closed
    its database.
    """

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()
