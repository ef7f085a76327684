"""The doors of the HTTP surfaces: who may knock, decided before any route, error page or file is reached.

A page in a browser can send requests to this machine, under any name it owns (DNS rebinding), from any site.
So the Host must be one of ours, letter by letter, and so must the Origin, where a browser names one.

Other servers reach us through a proxy or tunnel of the operator's, under a public name. That name opens the signed
routes and nothing else; and once there is one, what came through a proxy is never taken for a neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_DEFAULT_PORTS: Final = (b":80", b":443")
"""A browser leaves these out of the Host header."""

SIGNED_PATHS: Final = re.compile(r"/slack/interactions|/webhooks/[a-z]{1,20}/[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
"""All that a public name reaches: routes that take nothing unsigned."""

_FORWARDED: Final = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
    | {b"cf-connecting-ip", b"true-client-ip"}
)
"""What proxies and tunnels add; a program on this machine that talks to us directly does not."""

_SECURITY_HEADERS: Final = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_MISDIRECTED: Final = (421, b"This server does not answer to that host name.\n")
_FORBIDDEN: Final = (403, b"Requests from that origin are not allowed.\n")
_WEBSOCKET_POLICY_VIOLATION: Final = 1008


class Doors:
    """ASGI middleware that lets in exactly `hosts` and `origins`.

    A request is answered 421 when its Host is missing, doubled or not listed, and 403 when it names an Origin
    that is not listed (`null` never is). Programs other than browsers send no Origin and pass. WebSockets are
    refused.

    Under `public_hosts` only POST to the signed routes is let in, from no browser at all. While there is such a
    name, a request that went through a proxy and calls us by one of `hosts` is answered 421: a proxy that writes
    our own name into the Host header would otherwise put everything on the street.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str], public_hosts: Iterable[str] = ()
    ) -> None:
        """`hosts` are `name:port`, `origins` are `scheme://name:port`, as a browser writes them."""
        self._app = app
        self._public_hosts = _with_portless([host.lower().encode("ascii") for host in public_hosts])
        self._hosts = _with_portless([host.lower().encode("ascii") for host in hosts])
        self._origins = frozenset(origin.encode("ascii") for origin in origins) - {b"null"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": _WEBSOCKET_POLICY_VIOLATION})
        elif refusal := self._refusal(scope):
            await _refuse(send, *refusal)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, bytes] | None:
        hosts, origins = _headers(scope, b"host"), _headers(scope, b"origin")
        # a target that is not a path names a host of its own, which would outrank the header
        if len(hosts) != 1 or not scope["path"].startswith("/"):
            return _MISDIRECTED
        if hosts[0].lower() in self._public_hosts:
            return None if _is_signed_route(scope) and not origins else _MISDIRECTED
        if hosts[0].lower() not in self._hosts or (self._public_hosts and _is_forwarded(scope)):
            return _MISDIRECTED
        if len(origins) > 1 or not self._origins.issuperset(origins):
            return _FORBIDDEN
        return None


def own_hosts(host: str, port: int) -> frozenset[str]:
    """What a browser on this machine may call us, when we listen at the loopback address `host`."""
    literal = f"[{host.strip('[]')}]" if ":" in host else host
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", literal))


def own_origins(hosts: Iterable[str]) -> frozenset[str]:
    """The origins of our own pages, served at `hosts` without TLS; an origin leaves the default port out."""
    return frozenset(f"http://{host.removesuffix(':80')}" for host in hosts)


def _is_signed_route(scope: Scope) -> bool:
    return scope["method"] == "POST" and SIGNED_PATHS.fullmatch(scope["path"]) is not None


def _is_forwarded(scope: Scope) -> bool:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return any(name.lower() in _FORWARDED for name, _ in headers)


def _with_portless(hosts: Sequence[bytes]) -> frozenset[bytes]:
    short = [host.removesuffix(port) for host in hosts for port in _DEFAULT_PORTS if host.endswith(port)]
    return frozenset([*hosts, *short])


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value for key, value in headers if key.lower() == name]


async def _refuse(send: Send, status: int, body: bytes) -> None:
    headers = [*_SECURITY_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
