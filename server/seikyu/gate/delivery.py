"""Delivery: the worker that carries what is in the outbox to its channels. At least once, and nothing waits for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio

from seikyu.errors import NotDelivered, SeikyuError, Text
from seikyu.gate.gathering import Gathering
from seikyu.gate.notices import Notifier
from seikyu.gate.outbox import Letter, Outbox
from seikyu.gate.reminders import Reminders
from seikyu.store.database import Store

log = logging.getLogger(__name__)

DELIVERY_S: Final = 25
"""The longest one delivery may take; `outbox.BATCH` of them end before `outbox.LEASE_S`."""

_TOO_SLOW: Final = Text("通知先が応答しませんでした。", f"The channel did not answer within {DELIVERY_S} s.")
_OUR_FAULT: Final = Text("通知の処理で問題が起きました。", "Something failed while the notice was delivered.")


class Delivery:
    """Tells `notifiers` what there is to tell. Any number of servers may do so over one database."""

    def __init__(
        self,
        store: Store,
        *,
        gathering: Gathering,
        reminders: Reminders,
        outbox: Outbox,
        notifiers: Sequence[Notifier],
        limit_s: int = DELIVERY_S,
    ) -> None:
        self._store = store
        self._gathering = gathering
        self._reminders = reminders
        self._outbox = outbox
        self._notifiers = tuple(notifiers)
        self._limit_s = limit_s

    async def gather(self) -> None:
        """Put into the outbox what happened, and the reminders that are due."""
        await self._store.run(self._gathering.gather)
        await self._store.run(self._reminders.remind)

    async def round(self) -> None:
        """One look at the log, and one claim for every channel, side by side."""
        await self.gather()
        async with anyio.create_task_group() as tasks:
            for notifier in self._notifiers:
                tasks.start_soon(self.carry, notifier)

    async def carry(self, notifier: Notifier) -> None:
        """Deliver what is due for one channel; at the first that is not taken, the others wait with it."""
        letters = await self._store.run(lambda: self._outbox.claim(notifier.name))
        for place, letter in enumerate(letters):
            error = await self._try(notifier, letter)
            if error is None:
                await self._store.run(partial(self._outbox.delivered, letter))
            else:
                await self._hold(letter, error, letters[place + 1 :])
                return

    async def _try(self, notifier: Notifier, letter: Letter) -> SeikyuError | None:
        try:
            with anyio.fail_after(self._limit_s):
                await notifier.deliver(letter.notice)
        except SeikyuError as error:
            return error
        except TimeoutError:
            return NotDelivered(_TOO_SLOW)
        except Exception:
            log.exception("%s failed inside Seikyu", notifier.name)
            return NotDelivered(_OUR_FAULT)
        return None

    async def _hold(self, letter: Letter, error: SeikyuError, others: Sequence[Letter]) -> None:
        log.warning("%s did not take %s: %s", letter.channel, letter.notice.id, error.what.en)
        seconds = await self._store.run(lambda: self._outbox.failed(letter, error))
        await self._store.run(lambda: self._outbox.put_back(others, seconds=seconds))

    async def work(self, *, poll_s: int) -> None:
        """Gather and deliver for ever, each channel at its own pace. What fails is logged and tried again."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._gather_on, poll_s)
            for notifier in self._notifiers:
                tasks.start_soon(self._carry_on, notifier, poll_s)

    async def _gather_on(self, poll_s: int) -> None:
        while True:
            try:
                await self.gather()
            except SeikyuError as error:
                log.warning("no notices were gathered: %s", error.what.en)
            await anyio.sleep(poll_s)

    async def _carry_on(self, notifier: Notifier, poll_s: int) -> None:
        while True:
            try:
                await self.carry(notifier)
            except SeikyuError as error:
                log.warning("nothing was delivered to %s: %s", notifier.name, error.what.en)
            await anyio.sleep(poll_s)
