"""Notices: what people are told beside the answers they ask for, and the channels that carry it.

A notice tells; it decides nothing. One that is lost costs time, never money: the action waits in the list, and expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from seikyu.errors import Text


class NoticeKind(StrEnum):
    """What a notice is about."""

    ASKED = "asked"
    """A request waits for an operator."""
    REMINDER = "reminder"
    """… and waits still."""
    ESCALATION = "escalation"
    """… and runs out soon: the fallback group is asked."""
    DECIDED = "decided"
    """Approved, rejected, returned, revoked, withdrawn, expired or denied; nothing has been sent by that."""
    OUTCOME = "outcome"
    """What came of sending it: done, refused, or not known yet."""
    NEEDS_PERSON = "needs_person"
    """Nothing goes on by itself: somebody has to look."""
    ALARM = "alarm"
    """Something is not as Seikyu wrote it, or the people who may decide have changed."""
    FROZEN = "frozen"
    """The kill switch was turned on or off."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell, for one channel."""

    id: str
    """The same at every try: a notice may arrive twice, and a receiver that remembers ids can drop the second."""
    kind: NoticeKind
    action_id: str | None
    """None when it is about no action, or about many at once."""
    at: datetime
    """When it happened (aware, UTC); not when it was sent."""
    text: Text
    """One sentence of our own words, ids and amounts; never a provider's or a model's free text."""


class Notifier(Protocol):
    """A channel that carries notices out of the house."""

    @property
    def name(self) -> str:
        """One lower-case word, the same for ever: what is still to be told is kept under it."""
        ...

    async def deliver(self, notice: Notice) -> None:
        """Hand it over; it counts as delivered when this returns. May be cancelled when it takes too long.

        Raises:
            NotDelivered: the channel did not take it; it is tried again, after `retry_after_s` when that is given.
        """
        ...
