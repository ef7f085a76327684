"""The twins' time: injected, so that codes, tokens and credit facilities expire without waiting."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

JST = timezone(timedelta(hours=9), "JST")


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present, aware, in UTC."""
        ...

    def advance(self, seconds: float) -> None:
        """Move the present forward."""
        ...


@dataclass(slots=True)
class TwinClock:
    """The wall clock plus what was advanced; with `frozen_at` (aware) it moves only when advanced."""

    frozen_at: datetime | None = None
    offset: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return (self.frozen_at or datetime.now(UTC)).astimezone(UTC) + self.offset

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"a twin's clock only moves forward, not by {seconds} s")
        self.offset += timedelta(seconds=seconds)


def today_jst(clock: Clock) -> date:
    """Return the day in Japan, which is what the providers mean by a date."""
    return clock.now().astimezone(JST).date()
