"""Requests over HTTP that can be read in two ways: a name given twice is refused before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mcp_types import INVALID_REQUEST
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seikyu.surfaces.mcp.misshapen import UNREADABLE, says_two_things

_REFUSAL: Final = {"jsonrpc": "2.0", "id": None, "error": {"code": INVALID_REQUEST, "message": UNREADABLE}}


class OneReading:
    """ASGI middleware that reads a body of up to `max_body` bytes, and hands it on untouched when it is no such one."""

    def __init__(self, app: ASGIApp, *, max_body: int) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        heard = await self._hear(scope, receive)
        if says_two_things(b"".join(message.get("body", b"") for message in heard)):
            await JSONResponse(_REFUSAL, 400)(scope, receive, send)
        else:
            await self._app(scope, _again(heard, receive), send)

    async def _hear(self, scope: Scope, receive: Receive) -> Sequence[Message]:
        """What came of the body; the rest of one that is too large is left to whoever refuses it."""
        declared = Headers(scope=scope).get("content-length", "0")
        heard, size = list[Message](), int(declared) if declared.isdigit() else 0
        if size > self._max_body:
            return heard
        size = 0
        while size <= self._max_body:
            heard.append(await receive())
            size += len(heard[-1].get("body", b""))
            if not heard[-1].get("more_body"):
                break
        return heard


def _again(heard: Sequence[Message], receive: Receive) -> Receive:
    """What was heard, and then what comes."""
    kept = iter(heard)

    async def hear() -> Message:
        return next(kept, None) or await receive()

    return hear
