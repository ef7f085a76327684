"""How a signed request is taken in: whole, up to a size and for a while."""

from __future__ import annotations

from typing import Final

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from seikyu.surfaces.signatures import Envelope

MAX_BODY: Final = 256 * 1024
"""Bytes. Slack's and MFK's own requests are a few KB."""

PATIENCE_S: Final = 10
"""How long a body may take to arrive."""

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


async def read_envelope(request: Request) -> Envelope | None:
    """The request as it came; None when it is larger than `MAX_BODY`, too slow, cut off, or packed."""
    if "content-encoding" in request.headers:
        return None
    body = bytearray()
    with anyio.move_on_after(PATIENCE_S) as waiting:
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    return None
        except ClientDisconnect:
            return None
    return None if waiting.cancelled_caught else Envelope(tuple(request.headers.raw), bytes(body))


def answer(status: int, text: str = "") -> Response:
    """A short plain answer; a refusal never says what exactly was wrong."""
    return PlainTextResponse(text, status, headers=_HEADERS)
