"""Gathering: from the audit log into the outbox of each channel.

The log is where a change and its notice are one: the row that records a change, written in its transaction, is what is
told. So nothing more is written while somebody waits for an answer, and nothing that was committed goes untold: each
channel has a place in the log, and what stands after it is put into the outbox by whichever server looks first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from seikyu.errors import Text
from seikyu.gate.actions import Action
from seikyu.gate.announcements import Announcement, about_action, about_house, is_told, unreadable
from seikyu.models import Clock, moment, timestamp
from seikyu.spec import WriteOperation
from seikyu.store.database import Row, Store, Tx

NEW_CHANNEL: Final = timedelta(minutes=10)
"""How far back a channel begins that was never there before."""

TOO_OLD: Final = timedelta(days=14)
"""What happened so long ago, while no server ran, is not told any more."""

KEPT: Final = timedelta(days=60)
"""How long a notice can be looked up."""

FLOOD_AFTER: Final = 5
"""Notices of one kind about one requester's actions that are told one by one …"""

FLOOD_WINDOW_S: Final = 300
"""… in so many seconds; the others wait for the end of that time and are told as one, with their number."""

_PAGE: Final = 200
_FORGET_EVERY: Final = timedelta(hours=1)


class Gathering:
    """Puts what there is to tell into the outbox of `channels`."""

    def __init__(
        self, store: Store, clock: Clock, *, channels: Sequence[str], operations: Mapping[str, WriteOperation[Any]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._operations = operations
        self._forgot_at: datetime | None = None
        self.channels = tuple(channels)

    def gather(self) -> None:
        """Put in what the log has to tell since the last look. Any number of servers may do so at once."""
        for channel in self.channels:
            while self._gather_page(channel):
                pass
        self._forget()

    def _gather_page(self, channel: str) -> bool:
        """One page of the log; whether there may be more."""
        now = self._clock.now()
        with self._store.read() as tx:
            cursor = tx.one("outbox_cursor", channel=channel)
            page = [] if cursor is None else tx.all("audit_page", after=cursor["seq"], limit=_PAGE)
            told = [(row, self._announcement(tx, row)) for row in page if moment(row["at"]) > now - TOO_OLD]
        if cursor is None:
            self._open(channel, now)
            return True
        if page:
            self._keep_page(channel, cursor["seq"], page[-1]["seq"], told)
        return len(page) == _PAGE

    def _open(self, channel: str, now: datetime) -> None:
        with self._store.write() as tx:
            tx.run("open_outbox", channel=channel, before=timestamp(now - NEW_CHANNEL))

    def _keep_page(
        self, channel: str, from_seq: int, to_seq: int, told: Iterable[tuple[Row, Announcement | None]]
    ) -> None:
        with self._store.write() as tx:
            if tx.run("move_outbox", channel=channel, from_seq=from_seq, to_seq=to_seq) != 1:
                return  # another server put the same page in
            for row, said in told:
                if said is not None:
                    put(tx, channel, f"log-{row['seq']}", said, action_id=row["action_id"], at=moment(row["at"]))

    def _announcement(self, tx: Tx, row: Row) -> Announcement | None:
        try:
            return self._told(tx, row)
        except (ValueError, KeyError, TypeError):  # one such row must not keep people from all that follow
            return unreadable(row["seq"])

    def _told(self, tx: Tx, row: Row) -> Announcement | None:
        record: dict[str, Any] = json.loads(row["record"])
        if row["action_id"] is None:
            return about_house(row["kind"], record)
        found = tx.one("action", id=row["action_id"]) if is_told(row["kind"], record) else None
        if found is None:
            return None
        action = Action.model_validate(found)
        return about_action(row["kind"], record, action, self.title(action))

    def title(self, action: Action) -> Text:
        """What the operation is called; its plain name after a downgrade."""
        operation = self._operations.get(action.operation)
        return Text(action.operation, action.operation) if operation is None else operation.title

    def _forget(self) -> None:
        """Now and then, drop what nobody looks up any more."""
        now = self._clock.now()
        if self._forgot_at is None or now - self._forgot_at >= _FORGET_EVERY:
            self._forgot_at = now
            with self._store.write() as tx:
                tx.run("forget_notices", before=timestamp(now - KEPT))


def put(tx: Tx, channel: str, id_: str, said: Announcement, *, action_id: str | None, at: datetime) -> None:
    """Keep one notice for one channel, in the caller's transaction; the same id again changes nothing."""
    tx.run(
        "add_notice",
        channel=channel,
        id=id_,
        kind=said.kind.value,
        action_id=action_id,
        at=timestamp(at),
        ja=said.text.ja,
        en=said.text.en,
        requester=said.requester,
        stands=said.stands,
        not_before=timestamp(_held_until(tx, channel, said, at)),
    )


def _held_until(tx: Tx, channel: str, said: Announcement, at: datetime) -> datetime:
    """`at`, or the end of its time window when one requester's notices come in floods."""
    if said.requester is None:
        return at
    start = datetime.fromtimestamp(int(at.timestamp()) // FLOOD_WINDOW_S * FLOOD_WINDOW_S, UTC)
    like = {"channel": channel, "requester": said.requester, "kind": said.kind.value, "stands": said.stands}
    [count] = tx.all("count_like", **like, since=timestamp(start))
    return start + timedelta(seconds=FLOOD_WINDOW_S) if count["total"] >= FLOOD_AFTER else at
