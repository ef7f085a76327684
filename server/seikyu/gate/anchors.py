"""Anchors: what the head of the audit log was, written down outside the database.

Whoever can write the database can write its whole chain anew, or cut off its end; it then holds by itself.
It does not hold against a line that says "on that day record 57 had this hash". Keep a copy of the file elsewhere.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from seikyu.errors import SeikyuError, StoreDamaged, Text
from seikyu.models import Clock, moment, timestamp
from seikyu.store.database import Row, Store
from seikyu.store.lines import append_line, last_lines

log = logging.getLogger(__name__)

EVERY_RECORDS: Final = 100
"""A running server anchors when so many records are new …"""

EVERY: Final = timedelta(days=1)
"""… or when any record is new and the last anchor is so old."""

_LINE_BYTES: Final = 1024
"""More than the longest anchor."""


def _checked_moment(text: str) -> str:
    moment(text)
    return text


class Anchor(BaseModel):
    """The head of the log at one moment."""

    model_config = ConfigDict(frozen=True, strict=True, defer_build=True)

    at: Annotated[str, AfterValidator(_checked_moment)]
    records: int = Field(ge=1)
    head: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of record number `records`."""


@dataclass(frozen=True, slots=True)
class AnchorLines:
    """An anchor file as it was read."""

    anchors: tuple[Anchor, ...] = ()
    unreadable: tuple[int, ...] = ()
    """Numbers of the lines that are no anchors."""


class AnchorFile:
    """One JSON line an anchor, only ever appended to; mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, anchor: Anchor) -> None:
        """Append one line, durable when this returns. Raises `OSError`."""
        append_line(self.path, anchor.model_dump_json().encode())

    def size(self) -> int:
        """Bytes; 0 when there is no file. It only ever grows."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def read(self) -> AnchorLines:
        """Every line; no file is no lines. Raises `OSError`."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return AnchorLines()
        read = [parsed(line) for line in lines]
        bad = tuple(number for number, anchor in enumerate(read, 1) if anchor is None)
        return AnchorLines(tuple(anchor for anchor in read if anchor is not None), bad)

    def newest(self) -> Anchor | None:
        """The last line that is an anchor, of the few that end the file. Raises `OSError`."""
        read = [parsed(line) for line in last_lines(self.path, _LINE_BYTES)]
        return next((anchor for anchor in reversed(read) if anchor is not None), None)


def parsed(line: bytes) -> Anchor | None:
    """An anchor from its line; None when it is none."""
    try:
        return Anchor.model_validate(json.loads(line))
    except (ValueError, ValidationError, RecursionError):
        return None


class Anchoring:
    """Writes anchors down in time."""

    def __init__(self, store: Store, clock: Clock, file: AnchorFile) -> None:
        self._store = store
        self._clock = clock
        self._file = file
        self._last: Anchor | None = None
        self._is_failing = False

    def keep_up(self, *, at_once: bool = False) -> None:
        """Anchor when it is time (`at_once`: when anything is new). A fault is logged once and stops nothing."""
        try:
            head = self._head()
            if head is not None and (self._is_due(head, at_once=at_once) or self._is_ahead(head)):
                self._last = self._newest()  # another process may have been here
                if self._is_due(head, at_once=at_once):
                    self._keep(head)
            self._is_failing = False
        except (OSError, SeikyuError) as error:
            if not self._is_failing:
                log.warning("the audit log is not anchored: %s", error)
            self._is_failing = True

    def anchor(self) -> Anchor | None:
        """Anchor now; None when the log is empty.

        Raises:
            StoreDamaged: the log is shorter than its last anchor says.
            OSError: the file cannot be written.
        """
        head, self._last = self._head(), self._newest()
        if self._last is not None and (head is None or head["seq"] < self._last.records):
            raise StoreDamaged(
                Text("監査記録が最後の控えより短くなっています。", "The log is shorter than its last anchor says."),
                Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."),
            )
        return None if head is None else self._keep(head)

    def _head(self) -> Row | None:
        with self._store.read() as tx:
            return tx.one("audit_head")

    def _newest(self) -> Anchor | None:
        return self._file.newest()

    def _is_due(self, head: Row, *, at_once: bool) -> bool:
        if self._last is None:
            return True
        new = head["seq"] - self._last.records
        is_old = self._clock.now() - moment(self._last.at) >= EVERY
        return new >= EVERY_RECORDS or (new > 0 and (at_once or is_old))

    def _is_ahead(self, head: Row) -> bool:
        """Whether what we last anchored is more than there is: the database was restored."""
        return self._last is not None and self._last.records > head["seq"]

    def _keep(self, head: Row) -> Anchor:
        anchor = Anchor(at=timestamp(self._clock.now()), records=head["seq"], head=head["hash"])
        self._file.keep(anchor)
        self._last = anchor
        return anchor
