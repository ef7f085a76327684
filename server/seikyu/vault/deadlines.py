"""A deadline that a process which stood still does not miss."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

TICKS: Final = 4
"""In a second."""


@contextmanager
def cut_off_after(seconds: int) -> Generator[None]:
    """Cancel what runs inside once this process was awake for `seconds`; then go on after the block.

    Counted in short ticks, each from the one before. A process that was stopped, or whose machine slept, finds every
    timer over at once, and the answer it waited for lies in its socket: so it gets the ticks that were left to read it.
    The answer to a token request exists nowhere else.
    """
    import asyncio

    import anyio

    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        timers: list[asyncio.TimerHandle] = []

        def tick(left: int) -> None:
            if left:
                timers[:] = [loop.call_later(1 / TICKS, tick, left - 1)]
            else:
                scope.cancel()

        tick(seconds * TICKS)
        try:
            yield
        finally:
            timers[0].cancel()
