"""Connections that say nothing, or little and late: how long one is waited for, and how many there may be.

Each takes a file descriptor. A neighbour who opens many and leaves them would stop the worker, the database and the
page together; so a request has to be whole within a while, and beyond a number nobody else is let in.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S: Final = 30
"""How long a request may take to arrive, its body too. What is answered, and how long, is not limited here."""

MAX_VISITORS: Final = 1000
"""Connections at once, where there are files for them: some clients open one for each call they make in parallel."""

FILES: Final = 4096
"""As many as a server asks to be allowed; 256 and 1024 are what is usually given without asking."""

_UNFINISHED: Final = frozenset({h11.IDLE, h11.SEND_BODY})
"""What a client is still to send: anything, or the rest of a body."""


def make_room() -> None:
    """Let this process open as many files as it may, up to `FILES`."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def places() -> int:
    """How many may be here at once; the rest of the files is for the database, the providers and who knocks."""
    with suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return MAX_VISITORS if soft == resource.RLIM_INFINITY else min(MAX_VISITORS, soft * 2 // 5)
    return MAX_VISITORS


class Visitor(H11Protocol):
    """One connection. The first request, and each one that has begun, is waited for `PATIENCE_S`."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > places():
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in _UNFINISHED:
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(PATIENCE_S, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
