"""Claims: the right to send one action once. Committed before the first byte leaves, checked again just before."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from seikyu.errors import NotAllowed, StoreDamaged, Text
from seikyu.gate import audit, freezing, listing, targets
from seikyu.gate.actions import (
    Action,
    State,
    find,
    move,
    notes_json,
    said_before,
    tell,
    text_json,
    verdict_json,
)
from seikyu.gate.facts import gather_again
from seikyu.gate.freezing import Freeze
from seikyu.gate.mandates import People, believed, sound
from seikyu.gate.papers import Papers, papers_of
from seikyu.gate.policy import Policy, PolicyBook
from seikyu.gate.restoration import Newest, Restoration, is_older
from seikyu.gate.rights import Right
from seikyu.gate.seats import lacking
from seikyu.gate.targets import Found, Reading, Unread
from seikyu.gate.votes import approvals, check_digest
from seikyu.models import Clock, jst_date, moment, timestamp
from seikyu.settings import Settings
from seikyu.spec import Connection, Different, Done, Lost, NotSent, Refused, Sent, Verdict, WriteOperation
from seikyu.store.database import Row, Store, Tx
from seikyu.store.presence import Presence

RETRY_UNSENT_S: Final = 5
"""Before the second try of a request that could not leave this machine; doubled each time."""

RETRY_UNSENT_MAX_S: Final = 300

RETRY_BLOCKED_S: Final = 60
"""Between two looks whether a person has connected the account again; the approval's own expiry ends it."""

Operations = Mapping[str, WriteOperation[Any]]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send `action`, until its lease ends or a later claim takes it over."""

    action: Action
    operation: WriteOperation[Any]
    connection: Connection
    approved_by: tuple[str, ...] = ()
    edits: tuple[Row, ...] = ()
    """What made the action what it is, for the journal."""

    @property
    def epoch(self) -> int:
        return self.action.epoch


class Claims:
    """Takes claims, guards them, and records how they end."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        *,
        book: PolicyBook,
        operations: Operations,
        presence: Presence,
        restoration: Restoration,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._book = book
        self._operations = operations
        self._presence = presence
        self._restoration = restoration

    def look(self) -> Freeze | None:
        """Whether the database is older than what was sent from here; the hold in force. See `Restoration.look`."""
        return self._restoration.look()

    def take(self, action_id: str, found: Found | None = None) -> Claim | None:
        """Claim an approved action; None when it is not to be sent now (somebody else has it, or a check failed).

        Everything is checked again under the lock: kill switch, content, seals, votes, expiry, policy and facts, and
        `found`, what the provider says by now of what the action stands on.

        Raises:
            Unread: nothing else speaks against it, and its target has to be read first.
            ConfigurationError: the policy cannot be read, or the action's connection is gone; it stays approved.
            StoreDamaged: the operators' records do not hold, which is told; it stays approved.
            StoreDamaged: whether the database was restored cannot be told; it stays approved.
        """
        mark = secrets.token_hex(8)
        claim = self._store.sure(lambda: self._take(action_id, mark, found), lambda: self._taken(action_id, mark))
        if claim is None:
            self.look()  # what stands against it may be that the database is older, and holds up everything
        return claim

    def _taken(self, action_id: str, mark: str) -> Claim | None:
        """After a commit without an answer: the claim if the log has it, else None. Nothing is sent on a guess."""
        with self._store.write() as tx:
            said = next((row for row in audit.history(tx, action_id) if row.get("claim") == mark), None)
            action = find(tx, action_id)
            if said is None or action.state is not State.EXECUTING or action.epoch != said["epoch"]:
                return None
            papers = papers_of(tx, action_id)
            if audit.doubt(tx, action.row, papers) is not None:  # what is sent is what is read here
                return None
            connection, operation = self._bound(action)
            return Claim(action, operation, connection, tuple(said.get("approved_by", ())), papers.edits_made)

    def _take(self, action_id: str, mark: str, found: Found | None) -> Claim | None:
        policy = self._book.current()
        owner, newest = self._presence.appear(), self._restoration.newest()
        with self._store.write() as tx:
            # a forged operator holds everything up; it must not destroy what others approved
            people = believed(tx)
            if not isinstance(people, StoreDamaged):
                return self._take_in(tx, action_id, mark, found, people, policy=policy, owner=owner, newest=newest)
            sound(tx, self._clock.now(), people)
        raise people

    def _take_in(
        self, tx: Tx, action_id: str, mark: str, found: Found | None, people: People, *,
        policy: Policy, owner: str, newest: Newest,
    ) -> Claim | None:  # fmt: skip
        action, now = find(tx, action_id), self._clock.now()
        if action.state is not State.APPROVED or not _is_due(action, now):
            return None
        papers = papers_of(tx, action.id)
        if _is_ended(tx, now, action, papers):
            return None
        if self._settings.is_read_only or freezing.standing(tx) is not None or is_older(tx, newest):
            return None
        try:
            check_digest(action)
            rights = approvals(tx, action, people, papers)
        except StoreDamaged as error:
            move(tx, now, action, State.REVOKED, "alarm", outcome=text_json(error.what))
            return None
        if self._is_stale(tx, action, rights, found, policy):
            return None
        connection, operation = self._bound(action)
        if not targets.is_read(action, operation, found):
            raise Unread(Reading(action, operation, connection))
        said = [right.said for right in rights]
        claimed = self._begin(tx, action, owner, said, mark=mark)
        return Claim(claimed, operation, connection, tuple(said), papers.edits_made)

    def _is_stale(self, tx: Tx, action: Action, rights: list[Right], found: Found | None, policy: Policy) -> bool:
        """Whether its target, the rules or the facts are not those it was approved for; it is then asked anew."""
        now, (connection, operation) = self._clock.now(), self._bound(action)
        changed = targets.changes(action, operation, found)
        current = targets.renewed(action, found.record) if changed and found is not None else action
        situation = gather_again(
            tx, current, connection, operation,
            now=now, duplicate_days=policy.file.duplicate_days, with_month=policy.asks_for_month,
        )  # fmt: skip
        verdict = policy.decide(situation.facts)
        if changed:
            until = now + timedelta(seconds=self._settings.timing.awaiting_s)
            targets.void(
                tx, action, current, changed,
                operation=operation, verdict=verdict, situation=situation, now=now, until=until,
            )  # fmt: skip
            return True
        verdict = _still_asked(action.decision, verdict)
        news = _asked_anew(action.decision, verdict) if rights else []
        if news or not _still_allowed(verdict, rights):
            self._send_back(tx, action, verdict, situation.twins)
            return True
        return False

    def _begin(self, tx: Tx, action: Action, owner: str, names: list[str], *, mark: str) -> Action:
        now = self._clock.now()
        claimed = move(
            tx,
            now,
            action,
            State.EXECUTING,
            "claimed",
            epoch=action.epoch + 1,
            # the day an amount counts on is the first day it may have left, not the day somebody asked
            jst_day=action.jst_day if action.may_have_left else jst_date(now).isoformat(),
            lease_owner=owner,
            lease_until=timestamp(now + timedelta(seconds=self._settings.timing.lease_s)),
            approved_by=names,
            claim=mark,
            row=None,  # held against the log already, by `_is_ended`
        )
        tx.run("add_attempt", action_id=action.id, epoch=claimed.epoch, started_at=timestamp(now))
        return claimed

    def _send_back(self, tx: Tx, action: Action, verdict: Verdict, twins: Sequence[str]) -> None:
        """The rules or the facts got stricter: ask again, and void the votes, for they were about something else."""
        now = self._clock.now()
        if verdict.kind == "deny":
            why = Text("; ".join(verdict.why), "; ".join(verdict.why))
            move(tx, now, action, State.DENIED, "denied", verdict=verdict_json(verdict), outcome=text_json(why))
            return
        until = timestamp(now + timedelta(seconds=self._settings.timing.awaiting_s))
        move(
            tx,
            now,
            action,
            State.AWAITING,
            "asked_again",
            verdict=verdict_json(verdict),
            approvers=verdict.approvers,
            expires_at=until,
            revision=action.revision + 1,
            notes=notes_json(action.note_texts, twins),
        )

    def _bound(self, action: Action) -> tuple[Connection, WriteOperation[Any]]:
        """The connection and operation the content names, if they are still what was approved."""
        content = action.content
        connection = self._settings.connection(content["connection"])
        operation = self._operations.get(action.request.operation)  # the sealed one, not the column's
        approved = tuple(content.get(name) for name in ("provider", "environment", "company", "address"))
        if connection is None or operation is None or approved != _identity(connection):
            raise NotAllowed(
                Text(
                    f"接続 {content['connection']} は承認時と違います。",
                    f"Connection {content['connection']} is not what was approved.",
                ),
                Text("connections.toml を確かめてください。", "Check connections.toml."),
            )
        return connection, operation

    def bound(self, action: Action) -> tuple[Connection, WriteOperation[Any]]:
        """Where an action's look-up goes. Raises `NotAllowed` when its connection changed."""
        return self._bound(action)

    def guard(self, claim: Claim) -> None:
        """The fence: called immediately before the first byte leaves. What may leave is journaled first, as claimed.

        Raises:
            NotAllowed: the lease is over, another process has the action, or everything is frozen.
            StoreBusy: the journal cannot be written.
        """
        journal, now = self._restoration.journal, self._clock.now()
        journal.keep(claim.action.row, edits=claim.edits, approved_by=claim.approved_by, now=now)
        with self._store.read() as tx:  # a slow disk must not stand between the lease and the first byte
            self._check(tx, claim)

    def _check(self, tx: Tx, claim: Claim) -> None:
        action, freeze = find(tx, claim.action.id), freezing.standing(tx)
        is_ours = action.state is State.EXECUTING and action.epoch == claim.epoch
        if not is_ours or action.lease_until is None or moment(action.lease_until) <= self._clock.now():
            raise NotAllowed(Text("送信の権利が失われました。", "The right to send was lost."))
        if freeze is not None:
            raise NotAllowed(freeze.text)

    def finish(self, claim: Claim, sent: Sent) -> Action:
        """Record how the attempt ended: state, attempt and audit row in one transaction.

        When another process has taken the action over meanwhile, only the fact is recorded; the look-up tells.
        """
        with self._store.write() as tx:
            action, now = find(tx, claim.action.id), self._clock.now()
            sent = targets.for_whom_it_was(action, sent)
            is_first = tx.run(
                "end_attempt",
                action_id=action.id,
                epoch=claim.epoch,
                ended_at=timestamp(now),
                outcome=type(sent).__name__,
                detail=_detail(sent),
            )
            if not is_first:  # stored already, by a commit whose answer was lost
                return action
            if action.state is not State.EXECUTING or action.epoch != claim.epoch:
                audit.append(tx, now, "fenced", action.id, epoch=claim.epoch, outcome=type(sent).__name__)
                return action
            return self.record(tx, action, sent)

    def expire(self) -> list[Action]:
        """Close every request whose time to be decided ran out. Expiry never approves."""
        now = self._clock.now()
        waiting = listing.due(self._store, self._clock, "actions_in", state=State.AWAITING.value, limit=1000)
        return listing.each([action for action in waiting if action.is_over(now)], self._expire_one)

    def _expire_one(self, seen: Action) -> Action:
        with self._store.write() as tx:
            action, now = find(tx, seen.id), self._clock.now()
            if action.state is State.AWAITING and action.is_over(now):
                return move(tx, now, action, State.EXPIRED, "expired")
            return action

    def record(self, tx: Tx, action: Action, sent: Sent) -> Action:
        """Turn an outcome into the next state, in the caller's transaction."""
        now = self._clock.now()
        free: dict[str, Any] = {"lease_owner": None, "lease_until": None, "not_before": None}
        match sent:
            case Done(reference=reference, facts=facts):
                done = move(
                    tx, now, action, State.SUCCEEDED, "succeeded", reference=reference,
                    provider_facts=json.dumps(dict(facts), ensure_ascii=False), outcome=None, **free,
                )  # fmt: skip
                self._mark_reversed(tx, done)
                return done
            case Different(reason=reason, reference=reference):
                return move(
                    tx,
                    now,
                    action,
                    State.MANUAL_REVIEW,
                    "differs",
                    reference=reference,
                    outcome=text_json(reason),
                    **free,
                )
            case Refused(reason=reason, status=status, codes=codes):
                return move(
                    tx,
                    now,
                    action,
                    State.FAILED,
                    "refused",
                    outcome=text_json(reason),
                    status=status,
                    codes=list(codes),
                    **free,
                )
            case NotSent():
                return self._unsent(tx, action, sent, free)
            case Lost(reason=reason, status=status):
                free["not_before"] = timestamp(now + timedelta(seconds=self._settings.timing.settle_s))
                return move(
                    tx, now, action, State.UNKNOWN, "outcome_unknown", outcome=text_json(reason), status=status,
                    unknown_since=timestamp(now), may_have_left=True, **free,
                )  # fmt: skip

    def _unsent(self, tx: Tx, action: Action, sent: NotSent, free: dict[str, Any]) -> Action:
        """Back to approved, to be tried again later and later, until the approval itself expires."""
        now, tries = self._clock.now(), action.unsent_tries + 1
        wait_s = RETRY_BLOCKED_S if sent.needs_person else min(RETRY_UNSENT_S * 2 ** (tries - 1), RETRY_UNSENT_MAX_S)
        said: dict[str, Any] = free | {"outcome": text_json(sent.reason), "unsent_tries": tries}
        said["not_before"] = timestamp(now + timedelta(seconds=wait_s))
        return move(tx, now, action, State.APPROVED, "not_sent", **said)

    def unread(self, seen: Action, why: NotSent) -> Action:
        """What `seen` stands on could not be read: nothing was sent, and it is tried again later."""
        with self._store.write() as tx:
            action = find(tx, seen.id)
            if action.state is not State.APPROVED or (action.digest, action.epoch) != (seen.digest, seen.epoch):
                return action
            return self._unsent(tx, action, why, {})

    def postpone(self, action_id: str, *, seconds: int) -> None:
        """Let an action that cannot be worked on wait, so that it does not stand in the way of others."""
        with self._store.write() as tx:
            action, now = find(tx, action_id), self._clock.now()
            later = timestamp(now + timedelta(seconds=seconds))
            tx.run(
                "postpone_action", id=action.id, state=action.state.value, not_before=later, updated_at=timestamp(now)
            )

    def _mark_reversed(self, tx: Tx, action: Action) -> None:
        mark_reversed(tx, action, self._operations)


def _is_ended(tx: Tx, now: datetime, action: Action, papers: Papers) -> bool:
    """Close what is not as it was written, or over.

    The log, not the row, says whether anything may have left before: then a person has to look.
    """
    doubt = audit.doubt(tx, action.row, papers)
    if doubt is not None:
        to = State.MANUAL_REVIEW if doubt.was_claimed else State.REVOKED
        move(tx, now, action, to, "alarm", outcome=text_json(doubt.fault))
    elif action.is_over(now):
        move(tx, now, action, State.EXPIRED, "expired")
    return doubt is not None or action.is_over(now)


def _still_asked(before: Verdict, now: Verdict) -> Verdict:
    """What somebody was asked about stays asked: the policy may allow what an edit made of it, alone it never runs."""
    return before if (before.kind, now.kind) == ("ask", "allow") else now


def _asked_anew(before: Verdict, now: Verdict) -> list[str]:
    """Rules that ask now and did not when the operators read the action."""
    known = {rule.rule for rule in before.trace if rule.is_hit and rule.verdict == "ask"}
    return [rule.rule for rule in now.trace if rule.is_hit and rule.verdict == "ask" and rule.rule not in known]


def _identity(connection: Connection) -> tuple[str, ...]:
    return (connection.provider, connection.environment, connection.company, connection.base_url)


def mark_reversed(tx: Tx, action: Action, operations: Operations) -> None:
    """Note on what a finished cancellation undid that it is undone, so that it may be proposed anew."""
    operation = operations.get(action.operation)
    if operation is None or operation.reverses is None or action.reference is None:
        return
    undone = {"connection": action.connection, "operation": operation.reverses, "reference": action.reference}
    rows, reversed_by = tx.all("actions_done", **undone), {"reversed_by": action.id}
    tx.run("reverse_action", **undone, **reversed_by)
    for row in rows:
        said = said_before(tx, row)
        tell(tx, moment(action.updated_at), "reversed", {**row, **reversed_by}, **reversed_by, **said)


def _is_due(action: Action, now: datetime) -> bool:
    return action.not_before is None or moment(action.not_before) <= now


def _still_allowed(verdict: Verdict, rights: Sequence[Right]) -> bool:
    if verdict.kind == "ask":
        return lacking(verdict, rights).people == 0
    return verdict.kind == "allow"


def _detail(sent: Sent) -> str | None:
    match sent:
        case Done(reference=reference):
            return reference
        case Refused(codes=codes, status=status):
            return f"{status} {' '.join(codes)}"
        case NotSent(reason=reason) | Lost(reason=reason) | Different(reason=reason):
            return reason.en
