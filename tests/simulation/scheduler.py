"""Time that only moves when everybody waits, and one seeded dice for who goes next."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar

MICRO: Final = 1_000_000
START: Final = datetime(2026, 11, 20, 13, 30, tzinfo=UTC)
"""22:30 in Japan: a day's limit ends within a run."""

STALL_PERCENT: Final = 4
"""How often time goes on although somebody could: a process that is paused, a disk that is slow."""

ResultT = TypeVar("ResultT")


class Deadlock(Exception):
    """Everybody waits for somebody else."""


class _Quiet(selectors.BaseSelector):
    """Asked by asyncio what happened outside once nothing inside is ready: here the next turn is given."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: Any = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop is not None and (timeout is None or timeout > 0):
            self.loop.go_on(None if timeout is None else math.ceil(timeout * MICRO))
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without a wall clock: timers are reached by jumping, turns are given by `random`."""

    def __init__(self, random: Random, *, may_stall: bool = False) -> None:
        self.random = random
        self.elapsed_us = 0
        self.turns = 0
        self.may_stall = may_stall
        self._waiting: list[asyncio.Future[None]] = []
        quiet = _Quiet()
        super().__init__(quiet)
        quiet.loop = self

    def time(self) -> float:
        return self.elapsed_us / MICRO

    async def turn(self) -> None:
        """Wait to be chosen: anything that can happen meanwhile may happen first."""
        mine = self.create_future()
        self._waiting.append(mine)
        await mine

    def go_on(self, timer_us: int | None) -> None:
        """Nothing is ready: give a turn, or let time pass until the next timer."""
        self._waiting = [one for one in self._waiting if not one.done()]
        is_stalled = self.may_stall and timer_us is not None and self.random.randrange(100) < STALL_PERCENT
        if self._waiting and not is_stalled:
            self.turns += 1
            self._waiting.pop(self.random.randrange(len(self._waiting))).set_result(None)
        elif timer_us is not None:
            self.elapsed_us += timer_us + 1
        else:
            raise Deadlock

    def play(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run to the end, then stop whatever is still waiting."""
        try:
            return self.run_until_complete(work)
        finally:
            self._drop()

    def _drop(self) -> None:
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.close()


@dataclass
class WallClock:
    """What the machine's clock shows: the time that passed, and the jumps somebody made it take."""

    loop: VirtualLoop
    offset_s: int = 0
    forward_s: int = 0
    """All jumps forward together: what has passed for the gate may not have passed for the world."""

    def now(self) -> datetime:
        return START + timedelta(microseconds=self.loop.elapsed_us, seconds=self.offset_s)

    def jump(self, seconds: int) -> None:
        self.offset_s += seconds
        self.forward_s += max(seconds, 0)

    @property
    def longest_s(self) -> int:
        """Seconds that may have passed since the beginning, by any clock."""
        return self.loop.elapsed_us // MICRO + self.forward_s
