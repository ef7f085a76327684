"""After a lost answer: the provider's own data decides, or a person does. Never a blind resend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from seikyu.errors import ProviderError, SeikyuError, Text
from seikyu.gate import audit, listing
from seikyu.gate.actions import Action, State, find, move, text_json
from seikyu.gate.claims import Claims
from seikyu.gate.targets import for_whom_it_was
from seikyu.models import Clock, moment, timestamp
from seikyu.settings import Timing
from seikyu.spec import Connection, Different, Done, Finding, OutcomeClass, Reader, WriteOperation
from seikyu.store.database import Store
from seikyu.store.presence import Presence

log = logging.getLogger(__name__)

ReaderOf: TypeAlias = Callable[[Connection], Reader]

LOOK_AGAIN_S: Final = 5
"""Between two look-ups of one action."""

MAX_EPOCHS: Final = 5
"""Claims and take-overs of one action after which "absent" is no longer believed: a person has to look."""

GIVE_UP_S: Final = 3600
"""A provider that cannot be asked for an hour: a person has to look."""

_BY_HAND = Text(
    "この操作は後から照会できません。提供元の画面で確かめてください。",
    "This operation cannot be looked up; a person has to check it in the provider's own screen.",
)
_MAYBE_LATE = Text("提供元に見つかりませんでした。", "The provider does not show it.")
_NOBODY_ANSWERS = Text("提供元に1時間照会できませんでした。", "The provider could not be asked for an hour.")


class Reconciliation:
    """Resolves actions whose outcome is unknown."""

    def __init__(self, store: Store, clock: Clock, timing: Timing, claims: Claims, presence: Presence) -> None:
        self._store = store
        self._clock = clock
        self._timing = timing
        self._claims = claims
        self._presence = presence

    def abandon(self) -> list[Action]:
        """Turn every action whose sender is dead, or whose lease is over, into unknown. It is never resent as it is."""
        running = listing.due(self._store, self._clock, "actions_in", state=State.EXECUTING.value, limit=1000)
        return listing.each([action for action in running if self._is_abandoned(action)], self._abandon)

    def _is_abandoned(self, action: Action) -> bool:
        is_over = action.lease_until is None or moment(action.lease_until) <= self._clock.now()
        return is_over or (action.lease_owner is not None and self._presence.is_gone(action.lease_owner))

    def _abandon(self, seen: Action) -> Action:
        reason = Text("送信した処理が途中で終わりました。", "The process that sent it ended without an answer.")
        with self._store.write() as tx:
            action, now = find(tx, seen.id), self._clock.now()
            if action.state is not State.EXECUTING or action.epoch != seen.epoch:
                return action
            # the epoch moves on: a sender that was only paused finds its claim gone before its first byte
            return move(
                tx,
                now,
                action,
                State.UNKNOWN,
                "abandoned",
                epoch=action.epoch + 1,
                lease_owner=None,
                lease_until=None,
                unknown_since=timestamp(now),
                may_have_left=True,
                not_before=timestamp(now + timedelta(seconds=self._timing.settle_s)),
                outcome=text_json(reason),
            )

    def due(self) -> list[Action]:
        """Unknown actions whose next look-up is due."""
        now = timestamp(self._clock.now())
        return listing.due(self._store, self._clock, "actions_due", state=State.UNKNOWN.value, now=now, limit=1000)

    def unseen(self) -> frozenset[str]:
        """Accounts with an unknown action that nobody has looked up yet; its first look-up is due soon.

        One that is due later was made unknown before the clock was set back: it holds up nothing.
        """
        soon = timestamp(self._clock.now() + timedelta(seconds=self._timing.settle_s))
        found = listing.due(self._store, self._clock, "actions_due", state=State.UNKNOWN.value, now=soon, limit=1000)
        return frozenset(action.connection for action in found if action.updated_at == action.unknown_since)

    async def resolve(self, action: Action, reader_of: ReaderOf) -> Action:
        """Look an unknown action up once, and record what that shows."""
        try:
            connection, operation = self._claims.bound(action)
        except SeikyuError as error:
            return await self._store.run(partial(self._to_person, action, error.what))
        if operation.look_up is None:
            return await self._store.run(lambda: self._to_person(action, _BY_HAND))
        asked_at = self._clock.now()  # what an answer shows is no newer than its question, however late it is read
        try:
            finding = await operation.look_up(reader_of(connection), action.request)
        except ProviderError as error:
            log.info("look-up of %s failed: %s", action.id, error.code)
            return await self._store.run(lambda: self._later(action))
        except SeikyuError as error:
            log.warning("look-up of %s is not possible: %s", action.id, error.code)
            return await self._store.run(lambda: self._later(action))
        return await self._store.run(lambda: self._conclude(action, operation, finding, asked_at))

    def _conclude(self, seen: Action, operation: WriteOperation[Any], finding: Finding, asked_at: datetime) -> Action:
        with self._store.write() as tx:
            action, now = find(tx, seen.id), self._clock.now()
            if action.state is not State.UNKNOWN or action.epoch != seen.epoch:
                return action
            finding = for_whom_it_was(action, finding)
            audit.append(tx, now, "looked_up", action.id, finding=type(finding).__name__)
            if isinstance(finding, Done | Different):
                return self._claims.record(tx, action, finding)
            if not self._is_quiet(action, asked_at):
                tx.run("postpone_action", id=action.id, state=action.state.value, **self._next(now))
                return find(tx, action.id)
            is_known = action.taken_up is None  # what became of it in the time that was forgotten, nobody knows
            if operation.outcome_class is OutcomeClass.A and action.epoch < MAX_EPOCHS and is_known:
                # the same natural key is sent again: should the effect land late after all, the provider
                # refuses the second one and the look-up finds the first
                return move(tx, now, action, State.APPROVED, "proven_absent", unknown_since=None, not_before=None)
            return move(tx, now, action, State.MANUAL_REVIEW, "needs_person", outcome=text_json(_MAYBE_LATE))

    def _is_quiet(self, action: Action, asked_at: datetime) -> bool:
        since = moment(action.unknown_since or action.updated_at)
        return asked_at - since >= timedelta(seconds=self._timing.quiet_s)

    def _next(self, now: datetime) -> dict[str, str]:
        return {"not_before": timestamp(now + timedelta(seconds=LOOK_AGAIN_S)), "updated_at": timestamp(now)}

    def _later(self, seen: Action) -> Action:
        now = self._clock.now()
        if now - moment(seen.unknown_since or seen.updated_at) >= timedelta(seconds=GIVE_UP_S):
            return self._to_person(seen, _NOBODY_ANSWERS)
        with self._store.write() as tx:
            tx.run("postpone_action", id=seen.id, state=State.UNKNOWN.value, **self._next(now))
            return find(tx, seen.id)

    def _to_person(self, seen: Action, reason: Text) -> Action:
        with self._store.write() as tx:
            action, now = find(tx, seen.id), self._clock.now()
            if action.state is not State.UNKNOWN or action.epoch != seen.epoch:
                return action
            return move(tx, now, action, State.MANUAL_REVIEW, "needs_person", outcome=text_json(reason))
