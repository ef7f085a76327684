"""Reminders of requests that nobody decided yet, and the call for the fallback group. Neither decides anything.

The times run around the clock: nobody has told Seikyu when the office is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seikyu.errors import Text
from seikyu.gate.actions import Action
from seikyu.gate.announcements import Announcement, call, phrase
from seikyu.gate.gathering import Gathering, put
from seikyu.gate.listing import legible
from seikyu.gate.notices import NoticeKind
from seikyu.models import JST, Clock, moment, timestamp
from seikyu.settings import Timing
from seikyu.store.database import Store, Tx

_LOOKED_AT: Final = 1000


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the time to decide after which people are told once more."""

    percent: int
    kind: NoticeKind


def stages(timing: Timing) -> list[Stage]:
    """In the order of time; 0 and 100 percent mean never."""
    wanted = [
        Stage(timing.remind_percent, NoticeKind.REMINDER),
        Stage(timing.remind_again_percent, NoticeKind.REMINDER),
        Stage(timing.escalate_percent, NoticeKind.ESCALATION),
    ]
    return sorted((one for one in wanted if 0 < one.percent < 100), key=lambda one: one.percent)  # noqa: PLR2004


class Reminders:
    """Looks at the time of what waits, and puts what is due into the outbox, each once a revision."""

    def __init__(
        self, store: Store, clock: Clock, timing: Timing, gathering: Gathering, *, escalate_to: Sequence[str] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._timing = timing
        self._gathering = gathering
        self._escalate_to = tuple(escalate_to)
        self._stages = stages(timing)

    def remind(self) -> None:
        """Put in every reminder that is due now; after a pause of the server only the latest of each action."""
        if not self._stages:
            return
        now = self._clock.now()
        left_s = self._timing.awaiting_s * (100 - self._stages[0].percent) // 100
        by = timestamp(now + timedelta(seconds=left_s))
        with self._store.read() as tx:
            rows = tx.all("actions_nearly_over", expires_by=by, now=timestamp(now), limit=_LOOKED_AT)
            missing = [(action, stage) for action in legible(rows) for stage in self._new(tx, action, now)]
        if missing:
            with self._store.write() as tx:
                for action, stage in missing:
                    self._put(tx, action, stage, now)

    def _new(self, tx: Tx, action: Action, now: datetime) -> list[Stage]:
        """The stage the action has reached, unless every channel has it."""
        asked = moment(action.expires_at) - timedelta(seconds=self._timing.awaiting_s)
        reached = [one for one in self._stages if now >= asked + self._after(one)][-1:]
        channels = self._gathering.channels
        return [
            stage
            for stage in reached
            if any(tx.one("has_notice", channel=channel, id=_id(action, stage)) is None for channel in channels)
        ]

    def _after(self, stage: Stage) -> timedelta:
        return timedelta(seconds=self._timing.awaiting_s * stage.percent // 100)

    def _put(self, tx: Tx, action: Action, stage: Stage, now: datetime) -> None:
        for channel in self._gathering.channels:
            put(tx, channel, _id(action, stage), self._announcement(action, stage), action_id=action.id, at=now)

    def _announcement(self, action: Action, stage: Stage) -> Announcement:
        what = phrase(action, self._gathering.title(action))
        until = moment(action.expires_at).astimezone(JST).strftime("%Y-%m-%d %H:%M")
        text = Text(
            f"{until}までに承認がなければ期限切れになります: {what.ja}。",
            f"It expires at {until} (Japan) unless it is approved: {what.en}.",
        )
        if stage.kind is NoticeKind.ESCALATION:
            text = call(self._escalate_to) + text
        return Announcement(stage.kind, text, action.requester, action.state.value)


def _id(action: Action, stage: Stage) -> str:
    return f"{action.id}.{action.revision}.{stage.kind.value}-{stage.percent}"
