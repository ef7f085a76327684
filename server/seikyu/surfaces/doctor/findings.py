"""What a check says: how bad it is, what is, and what to do. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from seikyu.errors import NOTHING, SeikyuError, Text


class Level(StrEnum):
    """Mildest first."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WARNING = "warning"
    """It goes on, and something about it should be changed."""
    FAULT = "fault"
    """Something does not work, or is not safe."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """Its stable name, `room.thing`."""
    level: Level
    what: Text
    """One sentence: what is."""
    next_step: Text = NOTHING
    """One sentence: what to do."""
    about: str = ""
    """Which one, where there are several: a connection, a file, a client."""

    @property
    def room(self) -> str:
        return self.check.partition(".")[0]


Findings: TypeAlias = Iterator[Finding]
"""A check yields what it found."""


def ok(check: str, what: Text, *, about: str = "") -> Finding:
    return Finding(check, Level.OK, what, about=about)


def note(check: str, what: Text, next_step: Text = NOTHING, *, about: str = "") -> Finding:
    return Finding(check, Level.NOTE, what, next_step, about)


def warning(check: str, what: Text, next_step: Text, *, about: str = "") -> Finding:
    return Finding(check, Level.WARNING, what, next_step, about)


def fault(check: str, what: Text, next_step: Text, *, about: str = "") -> Finding:
    return Finding(check, Level.FAULT, what, next_step, about)


def failed(check: str, error: SeikyuError, *, about: str = "") -> Finding:
    """What one of our own errors says."""
    return Finding(check, Level.FAULT, error.what, error.next_step, about)
