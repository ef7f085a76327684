"""Work that is not left halfway, and what ends it all the same."""

from __future__ import annotations

import asyncio

import pytest

from seikyu.errors import SeikyuError, Text
from seikyu.gate.endings import to_its_end

pytestmark = pytest.mark.anyio


class Work:
    """Goes on when it may."""

    def __init__(self, error: SeikyuError | None = None) -> None:
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.error = error

    async def __call__(self) -> str:
        self.has_begun.set()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return "done"


async def test_what_was_begun_is_ended_and_it_is_said_that_somebody_stopped_it() -> None:
    work = Work()
    caller = asyncio.create_task(to_its_end(work))
    await work.has_begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    work.may_end.set()

    assert await caller == ("done", True)


async def test_work_that_nobody_stops_says_so() -> None:
    work = Work()
    work.may_end.set()

    assert await to_its_end(work) == ("done", False)


async def test_a_failure_is_told_although_somebody_stopped_it() -> None:
    work = Work(SeikyuError(Text("失敗", "It failed.")))
    caller = asyncio.create_task(to_its_end(work))
    await work.has_begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    work.may_end.set()

    with pytest.raises(SeikyuError, match="It failed"):
        await caller


async def test_a_loop_that_ends_every_task_ends_the_work_too() -> None:
    others = asyncio.all_tasks()
    work = Work()
    caller = asyncio.create_task(to_its_end(work))
    await work.has_begun.wait()
    for task in asyncio.all_tasks() - others:
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
