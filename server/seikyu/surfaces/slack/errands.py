"""Errands: work that goes on after Slack was answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from seikyu.errors import SeikyuError

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

MAX_UNDER_WAY: Final = 32
"""Beyond, Slack is told to show an error: somebody clicks faster than we and Slack can work."""


class Errands:
    """Holds on to what was started until it ends."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def are_too_many(self) -> bool:
        return len(self._under_way) >= MAX_UNDER_WAY

    def start(self, work: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
        """Run `work` beside the caller; what goes wrong in it is logged."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    async def drain(self) -> None:
        """Wait for everything that was started."""
        while self._under_way:
            await asyncio.wait(tuple(self._under_way))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("work for Slack ended: %s", error.what.en if isinstance(error, SeikyuError) else type(error))
