"""Copies of the anchors in another place: an object store, a channel, another host. Each arrives, in order."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from seikyu.errors import NotDelivered
from seikyu.gate.anchors import Anchor, AnchorFile, parsed
from seikyu.models import Clock
from seikyu.store.database import Store

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 10
MAX_WAIT_S: Final = 900

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class AnchorSink(Protocol):
    """The other place."""

    async def keep(self, anchor: Anchor) -> None:
        """Keep it for good; it may be told the same anchor twice.

        Raises:
            NotDelivered: it was not kept; it is told again.
        """
        ...


class Place:
    """How far the other place has come: a small file beside the anchors that holds the last one it took.

    Not in the database: whoever owns that must not be able to say that everything has left.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> Anchor | None:
        """None when nothing has left yet. Raises `OSError`."""
        try:
            return parsed(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def move(self, anchor: Anchor) -> None:
        """Note, durably, that it was taken. Raises `OSError`."""
        descriptor = os.open(self._path, _OPEN, 0o600)
        try:
            line = anchor.model_dump_json().encode() + b"\n"
            os.pwrite(descriptor, line, 0)
            os.ftruncate(descriptor, len(line))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def alone(self) -> Generator[bool]:
        """Whether this process is the one that copies now; a process that dies lets go of it."""
        descriptor = os.open(self._path, _OPEN, 0o600)
        try:
            yield _is_locked(descriptor)
        finally:
            os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    if os.name != "posix":
        return True
    import fcntl

    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


class AnchorCopies:
    """Brings every anchor of the file to the other place, and says how many are still to go."""

    def __init__(self, store: Store, clock: Clock, file: AnchorFile, sink: AnchorSink) -> None:
        self._store = store
        self._clock = clock
        self._file = file
        self._sink = sink
        self._place = Place(file.path.with_name(f"{file.path.name}.copied"))
        self._failures = 0
        self._not_before: datetime | None = None
        self._size_done = 0

    def behind(self) -> tuple[Anchor, ...]:
        """The anchors that have not left yet, oldest first. Raises `OSError`."""
        return _after(self._file.read().anchors, self._place.last())

    async def keep_up(self) -> None:
        """Copy what is new. A fault is logged once, and tried again later and later; it stops nothing."""
        now, size = self._clock.now(), self._file.size()
        if size == self._size_done or (self._not_before is not None and now < self._not_before):
            return
        try:
            await self.copy()
            self._size_done = 0 if await self._store.run(self.behind) else size
        except (OSError, NotDelivered) as error:
            self._failures += 1
            wait_s = min(FIRST_WAIT_S << min(self._failures - 1, 20), MAX_WAIT_S)
            self._not_before = now + timedelta(seconds=wait_s)
            if self._failures == 1:
                log.warning("anchors are not copied, and tried again: %s", error)
            return
        self._failures, self._not_before = 0, None

    async def copy(self) -> None:
        """Copy every anchor that has not left, unless another process does.

        Raises:
            NotDelivered: one was not taken; those before it were.
            OSError: the files beside the anchors cannot be used.
        """
        with self._place.alone() as is_alone:
            for anchor in await self._store.run(self.behind) if is_alone else ():
                await self._sink.keep(anchor)
                self._place.move(anchor)


def _after(anchors: Sequence[Anchor], last: Anchor | None) -> tuple[Anchor, ...]:
    """What follows `last`; everything, when it is not among them: another file, or nothing has left."""
    places = [place for place, anchor in enumerate(anchors) if anchor == last]
    return tuple(anchors[places[-1] + 1 :]) if places else tuple(anchors)
