"""Whether this process keeps up: an event loop that stood still, threads that are all taken."""

from __future__ import annotations

from typing import Final

import anyio
from anyio import to_thread

BEAT_S: Final = 0.5
LATE_S: Final = 1
"""A beat so much too late is a loop that stood still."""
REMEMBERED_S: Final = 60
"""How long a standstill is told: whoever asks is never there while it lasts."""


class Pulse:
    """Beats on the event loop, and knows when it missed one."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._late: tuple[float, float] | None = None

    async def beat(self) -> None:
        """For ever."""
        while True:
            self._due = anyio.current_time() + BEAT_S
            await anyio.sleep(BEAT_S)
            self._note()

    def _note(self) -> None:
        now = anyio.current_time()
        if self._due is not None and now - self._due > LATE_S:
            self._late = now, now - self._due

    def complaints(self) -> list[str]:
        """What is wrong now, or was within the last minute; nothing when all is well."""
        self._note()  # a question may be heard before the beat that is late
        found: list[str] = []
        if self._late is not None and anyio.current_time() - self._late[0] < REMEMBERED_S:
            found.append(f"the event loop stood still for {self._late[1]:.0f} s")
        threads = to_thread.current_default_thread_limiter()
        if threads.available_tokens < 1:
            found.append("every thread is taken")
        return found
