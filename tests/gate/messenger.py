"""A messenger over a stage: real outbox, pretend channels at the edge of our process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gate.stage import Stage
from seikyu.gate.delivery import DELIVERY_S, Delivery
from seikyu.gate.gathering import Gathering
from seikyu.gate.notices import Notice, Notifier
from seikyu.gate.outbox import Outbox
from seikyu.gate.reminders import Reminders
from seikyu.settings import Timing
from seikyu.store.database import Row
from seikyu.store.presence import Presence


async def take(_notice: Notice) -> None:
    """What a channel does that is well."""


@dataclass
class PretendChannel:
    """Keeps what it took; before that it does what the test says."""

    name: str = "pretend"
    tried: list[Notice] = field(default_factory=list[Notice])
    taken: list[Notice] = field(default_factory=list[Notice])
    mood: Callable[[Notice], Awaitable[None]] = take

    async def deliver(self, notice: Notice) -> None:
        self.tried.append(notice)
        await self.mood(notice)
        self.taken.append(notice)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(notice.kind.value, notice.text.en) for notice in self.taken]


def messenger(
    stage: Stage,
    *channels: Notifier,
    timing: Timing | None = None,
    presence: Presence | None = None,
    escalate_to: tuple[str, ...] = (),
    limit_s: int = DELIVERY_S,
) -> Delivery:
    """What one server does to tell people; two of them on one stage are two servers."""
    timing = timing or stage.settings.timing
    names = [channel.name for channel in channels]
    operations = {stage.operation.name: stage.operation}
    gathering = Gathering(stage.store, stage.clock, channels=names, operations=operations)
    return Delivery(
        stage.store,
        gathering=gathering,
        reminders=Reminders(stage.store, stage.clock, timing, gathering, escalate_to=escalate_to),
        outbox=Outbox(stage.store, stage.clock, timing, presence or stage.presence, escalate_to=escalate_to),
        notifiers=channels,
        limit_s=limit_s,
    )


def rows(stage: Stage) -> list[Row]:
    """Everything in the outbox, oldest first."""
    with stage.store.read() as tx:
        return list(reversed(tx.all("outbox_page_all", limit=1000)))


def states(stage: Stage) -> list[str]:
    return [row["state"] for row in rows(stage)]
