"""The outbox: what is still to be told, by channel; each notice is handed to one server at a time.

Nothing is decided by these rows, so the log does not witness them: whoever changes them can keep people from being
told, as can whoever stops the server. No action is approved, sent or lost by that; it waits, and expires.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from seikyu.errors import NOTHING, NotDelivered, SeikyuError, Text
from seikyu.gate import audit
from seikyu.gate.actions import STATE_TEXT, State
from seikyu.gate.announcements import call
from seikyu.gate.gathering import FLOOD_AFTER
from seikyu.gate.notices import Notice, NoticeKind
from seikyu.models import Clock, moment, shown, timestamp
from seikyu.settings import Timing
from seikyu.store.database import Row, Store, Tx
from seikyu.store.presence import Presence

log = logging.getLogger(__name__)

LEASE_S: Final = 300
BATCH: Final = 10
"""Notices claimed at once; see `delivery`: all of them together take less time than the lease."""

FIRST_WAIT_S: Final = 5
MAX_WAIT_S: Final = 900
MAX_RETRY_AFTER_S: Final = 3600
"""The longest we let a channel make us wait."""

_DUE: Final = 1000
_STILL_ASKING: Final = frozenset({NoticeKind.REMINDER.value, NoticeKind.ESCALATION.value})
_ON_RECORD: Final = frozenset({NoticeKind.ALARM, NoticeKind.FROZEN, NoticeKind.NEEDS_PERSON})
"""When one of these reached nobody, the audit log says so."""

_LEADS: Final = {NoticeKind.REMINDER.value: Text("催促: ", "Reminder:")}
_AGAIN: Final = Text("（再送の可能性があります）", "(This may be a repeat.)")


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice on its way to one channel, and the rows it stands for."""

    channel: str
    notice: Notice
    ids: tuple[str, ...]
    tries: int
    """This one included."""
    tried_since: datetime


class Outbox:
    """Hands out what is due, and keeps what came of it."""

    def __init__(
        self, store: Store, clock: Clock, timing: Timing, presence: Presence, *, escalate_to: Sequence[str] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._timing = timing
        self._presence = presence
        self._leads = {**_LEADS, NoticeKind.ESCALATION.value: call(escalate_to)}

    def claim(self, channel: str) -> list[Letter]:
        """Take what is due for a channel, for `LEASE_S` seconds; nobody else is handed it meanwhile."""
        now = self._clock.now()
        with self._store.read() as tx:
            due = tx.all("notices_due", channel=channel, now=timestamp(now), limit=_DUE)
        bundles = _bundles([row for row in due if self._is_free(row, now)])[:BATCH]
        if not bundles:
            return []
        owner = self._presence.appear()
        with self._store.write() as tx:
            leased = [[row for row in bundle if _lease(tx, row, owner, now)] for bundle in bundles]
            return [self._letter(tx, rows, now) for rows in leased if rows]

    def _is_free(self, row: Row, now: datetime) -> bool:
        if row["lease_owner"] is None:
            return True
        return moment(row["lease_until"]) <= now or self._presence.is_gone(row["lease_owner"])

    def _letter(self, tx: Tx, rows: Sequence[Row], now: datetime) -> Letter:
        """One notice for `rows`, which are alike when there are several."""
        last, more = rows[-1], len(rows) - 1
        text = Text(last["ja"], last["en"])
        if more:
            text = self._leads.get(last["kind"], NOTHING) + _together(tx, rows)
        if any(row["lease_owner"] is not None for row in rows):
            text += _AGAIN  # a server had it and died before it could say what came of it
        notice = Notice(
            id=f"{last['id']}+{more}" if more else last["id"],
            kind=NoticeKind(last["kind"]),
            action_id=None if more else last["action_id"],
            at=moment(last["at"]),
            text=text,
        )
        since = min(row["tried_since"] or timestamp(now) for row in rows)
        tries = max(row["tries"] for row in rows) + 1
        return Letter(last["channel"], notice, tuple(row["id"] for row in rows), tries, moment(since))

    def delivered(self, letter: Letter) -> None:
        """Note that the channel took it."""
        now = self._clock.now()
        with self._store.write() as tx:
            for id_ in letter.ids:
                _end(tx, letter.channel, id_, "delivered", now)

    def failed(self, letter: Letter, error: SeikyuError) -> int:
        """Let it wait for its next try, or give it up; the seconds until the channel should be tried again."""
        now = self._clock.now()
        asked = error.retry_after_s if isinstance(error, NotDelivered) else None
        wait_s = _wait_s(letter.tries) if asked is None else max(1, min(asked, MAX_RETRY_AFTER_S))
        with self._store.write() as tx:
            if now - letter.tried_since >= timedelta(seconds=self._timing.notice_s):
                _give_up(tx, letter, error, now)
            else:
                self._delay(tx, letter, letter.tries, now + timedelta(seconds=wait_s), fault=error.what.en)
        return wait_s

    def put_back(self, letters: Sequence[Letter], *, seconds: int) -> None:
        """Let letters that were not tried wait as long as the one their channel did not take."""
        until = self._clock.now() + timedelta(seconds=seconds)
        with self._store.write() as tx:
            for letter in letters:
                self._delay(tx, letter, letter.tries - 1, until)

    def _delay(self, tx: Tx, letter: Letter, tries: int, until: datetime, *, fault: str | None = None) -> None:
        said: dict[str, Any] = {"tries": tries, "not_before": timestamp(until), "fault": fault}
        for id_ in letter.ids:
            tx.run("delay_notice", channel=letter.channel, id=id_, lease_owner=self._presence.name, **said)


def _lease(tx: Tx, row: Row, owner: str, now: datetime) -> bool:
    """Whether the row is ours now; a reminder that nobody needs any more is ended instead."""
    key = {"channel": row["channel"], "id": row["id"]}
    if row["kind"] in _STILL_ASKING:
        action = tx.one("action", id=row["action_id"])
        if action is None or action["state"] != State.AWAITING:
            _end(tx, **key, to="moot", now=now)
            return False
    until = timestamp(now + timedelta(seconds=LEASE_S))
    lease = {"lease_owner": owner, "lease_until": until, "now": timestamp(now), "tries": row["tries"]}
    return tx.run("lease_notice", **key, **lease) == 1


def _end(tx: Tx, channel: str, id: str, to: str, now: datetime, *, fault: str | None = None) -> None:  # noqa: A002
    tx.run("end_notice", channel=channel, id=id, to_state=to, now=timestamp(now), fault=fault)


def _give_up(tx: Tx, letter: Letter, error: SeikyuError, now: datetime) -> None:
    notice = letter.notice
    log.warning("%s (%s) did not reach %s and is given up: %s", notice.id, notice.kind, letter.channel, error.what.en)
    for id_ in letter.ids:
        _end(tx, letter.channel, id_, "given_up", now, fault=error.what.en)
    if notice.kind in _ON_RECORD:
        said = {"notice": notice.id, "notice_kind": notice.kind.value, "channel": letter.channel}
        audit.append(tx, now, "notice_given_up", notice.action_id, **said)


def _wait_s(tries: int) -> int:
    """Doubled at each try, and spread by a quarter either way so that many do not come back at once."""
    whole = min(FIRST_WAIT_S << min(tries - 1, 20), MAX_WAIT_S)
    return whole - whole // 4 + secrets.randbelow(whole // 2 + 1)


def _bundles(rows: Sequence[Row]) -> list[list[Row]]:
    """What is told in one notice: floods of the like together, everything else by itself."""
    alike: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        alone = row["id"] if row["requester"] is None else None
        alike.setdefault((row["kind"], row["stands"], row["requester"], alone), []).append(row)
    return [bundle for group in alike.values() for bundle in _bundled(group)]


def _bundled(group: Sequence[Row]) -> list[list[Row]]:
    if len(group) > FLOOD_AFTER:
        return [list(group)]
    held = [row for row in group if row["not_before"] > row["at"] and row["tries"] == 0]
    ones = [[row] for row in group if row not in held]
    return [*ones, held] if held else ones


def _together(tx: Tx, rows: Sequence[Row]) -> Text:
    """One line for a flood: how many, whose, where they stand, and how many wait in all."""
    who, stands = shown(rows[-1]["requester"], 60), STATE_TEXT[State(rows[-1]["stands"])]
    count = tx.one("count_awaiting_of", requester=rows[-1]["requester"])
    waiting = 0 if count is None else count["total"]
    return Text(
        f"{who} さんの申請{len(rows)}件（{stands.ja}）をまとめてお知らせします。承認待ちは全部で{waiting}件です。",
        f"{len(rows)} requests of {who}, told together: {stands.en}. {waiting} of theirs wait for approval in all.",
    )


def listing(store: Store, *, state: str | None, limit: int) -> tuple[list[Row], list[Row]]:
    """The newest notices, and how many there are by channel and state."""
    whose, which = ("_all", {}) if state is None else ("", {"state": state})
    with store.read() as tx:
        return tx.all(f"outbox_page{whose}", **which, limit=limit), tx.all("outbox_counts")
