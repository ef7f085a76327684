"""Connections that say nothing, or little and late: how long one is waited for, and how many there may be.

Each takes a file descriptor. A neighbour who opens many and leaves them would stop the worker, the database and the
page together; so a request has to be whole within a while, and beyond a number nobody else is let in.
"""

from __future__ import annotations

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S: Final = 30
"""How long a request may take to arrive, its body too. What is answered, and how long, is not limited here."""

MAX_VISITORS: Final = 100
"""Connections at once: with those that knock meanwhile and our own files, fewer than 256, the least usual limit."""

_UNFINISHED: Final = frozenset({h11.IDLE, h11.SEND_BODY})
"""What a client is still to send: anything, or the rest of a body."""


class Visitor(H11Protocol):
    """One connection. The first request, and each one that has begun, is waited for `PATIENCE_S`."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_VISITORS:
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
