"""Work that comes to its end although a person pressed Ctrl+C."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from seikyu.errors import SeikyuError

ResultT = TypeVar("ResultT")


async def to_its_end(work: Callable[[], Awaitable[ResultT]]) -> tuple[ResultT, bool]:
    """What `work` came to, though the caller is cancelled meanwhile, and whether it was.

    Tokens whose answer nobody reads could not be given back, and of a transaction nobody waits for nobody could say
    how it ended. In a task of its own: Ctrl+C cancels the main task, whatever shields it has.
    """
    done: list[ResultT] = []
    failed: list[SeikyuError] = []
    is_stopped = False

    async def whole() -> None:
        with anyio.CancelScope(shield=True):
            try:
                done.append(await work())
            except SeikyuError as error:
                failed.append(error)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(whole)
    except anyio.get_cancelled_exc_class():
        is_stopped = True
        if not done and not failed:
            raise
    if failed:
        raise failed[0]
    return done[0], is_stopped
