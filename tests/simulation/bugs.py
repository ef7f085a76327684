"""Gates with one fault each: what the oracle must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from seikyu.errors import NotAllowed, Text
from seikyu.gate import freezing, mandates, votes
from seikyu.gate.actions import Action, State, find, move, row_of, text_json, verdict_json
from seikyu.gate.claims import Claim, Claims
from seikyu.gate.execution import Client, Executor
from seikyu.gate.mandates import People
from seikyu.gate.papers import Papers
from seikyu.gate.policy import Policy
from seikyu.gate.proposals import Desk
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.rights import Right
from seikyu.gate.targets import Found
from seikyu.gate.votes import Ballot, BallotBox
from seikyu.spec import Done, Lost, Principal, Refused, Sent, Verdict
from seikyu.store.database import Row, Tx, Value
from simulation.house import Rooms, Shelf
from simulation.providers import OPERATIONS, number_is_enough


class OpenGuard(Claims):
    """The fence lets everything through."""

    def guard(self, claim: Claim) -> None:
        pass


class EndlessLease(Claims):
    """The fence does not look at the clock."""

    def _check(self, tx: Tx, claim: Claim) -> None:
        row = row_of(tx, claim.action.id)
        if (row["state"], row["epoch"]) != (State.EXECUTING.value, claim.epoch) or freezing.standing(tx) is not None:
            raise NotAllowed(Text("失効", "lost"))


class Unwritten(Claims):
    """What leaves is written down nowhere but in the database."""

    def guard(self, claim: Claim) -> None:
        with self._store.read() as tx:
            self._check(tx, claim)


class AnyEpoch(Claims):
    """An answer is recorded whoever holds the claim by now."""

    def finish(self, claim: Claim, sent: Sent) -> Action:
        with self._store.write() as tx:
            action = find(tx, claim.action.id)
            return self.record(tx, action, sent) if action.state in {State.EXECUTING, State.UNKNOWN} else action


class AnyState(Claims):
    """Takes an action whose outcome is unknown as if it were approved."""

    def take(self, action_id: str, found: Found | None = None) -> Claim | None:
        with self._store.write() as tx:
            action = find(tx, action_id)
            if action.state is State.UNKNOWN:
                move(tx, self._clock.now(), action, State.APPROVED, "proven_absent", not_before=None)
        return super().take(action_id, found)


class SameRevision(Claims):
    """Asks anew and lets the old votes stand."""

    def _send_back(self, tx: Tx, action: Action, verdict: Verdict, twins: Any) -> None:
        if verdict.kind == "deny":
            super()._send_back(tx, action, verdict, twins)
            return
        now, asked = self._clock.now(), {"verdict": verdict_json(verdict), "approvers": verdict.approvers}
        move(tx, now, action, State.AWAITING, "asked_again", **asked)


class ExpiryApproves(Claims):
    """Who says nothing agrees."""

    def _expire_one(self, seen: Action) -> Action:
        with self._store.write() as tx:
            action, now = find(tx, seen.id), self._clock.now()
            if action.state is State.AWAITING and action.is_over(now):
                return move(tx, now, action, State.APPROVED, "approved", expires_at="2030-01-01T00:00:00.000000Z")
            return action


class Silent(Claims):
    """Changes a row without a word in the audit log."""

    def record(self, tx: Tx, action: Action, sent: Sent) -> Action:
        done = super().record(tx, action, sent)
        where = {"connection": done.connection, "operation": done.operation, "reference": done.reference}
        tx.run("reverse_action", reversed_by="nobody", **where)
        return done


class UnseenUnsent(Claims):
    """An answer that was lost is taken for a request that never left."""

    def record(self, tx: Tx, action: Action, sent: Sent) -> Action:
        if isinstance(sent, Lost) and sent.status is None:
            return move(tx, self._clock.now(), action, State.APPROVED, "not_sent", lease_owner=None, lease_until=None)
        return super().record(tx, action, sent)


class ServerErrorIsRefusal(Claims):
    """A 500 is believed to mean that nothing was written."""

    def record(self, tx: Tx, action: Action, sent: Sent) -> Action:
        if isinstance(sent, Lost) and sent.status is not None:
            return super().record(tx, action, Refused(sent.reason, sent.status))
        return super().record(tx, action, sent)


class SendsTwice(Executor):
    """Tries again at once when the answer is lost."""

    async def _send(self, claim: Claim) -> Sent:
        sent = await super()._send(claim)
        return await super()._send(claim) if isinstance(sent, Lost) else sent


class ConflictIsSuccess(Executor):
    """What is there already must be ours."""

    async def _compare(self, claim: Claim, client: Client, refused: Refused) -> Sent:
        return Done("there already")


class Hasty(Reconciliation):
    """Absent once is absent for ever."""

    def _is_quiet(self, action: Action, asked_at: Any) -> bool:
        return True


class DeadIsUnsent(Reconciliation):
    """What a dead process held is taken not to have left."""

    def _abandon(self, seen: Action) -> Action:
        with self._store.write() as tx:
            action = find(tx, seen.id)
            if action.state is not State.EXECUTING or action.epoch != seen.epoch:
                return action
            return move(tx, self._clock.now(), action, State.APPROVED, "not_sent", lease_owner=None, lease_until=None)


class AbsentFails(Reconciliation):
    """What the look-up does not find is told to have failed."""

    def _to_person(self, seen: Action, reason: Any) -> Action:
        with self._store.write() as tx:
            action = find(tx, seen.id)
            never_left = action.model_copy(update={"may_have_left": False})
            return move(tx, self._clock.now(), never_left, State.FAILED, "refused", outcome=text_json(reason))


class Forgetful(Reconciliation):
    """Never looks at what a dead process held."""

    def abandon(self) -> list[Action]:
        return []


class OldShelf(Shelf):
    """Knows the policy it read first."""

    def current(self) -> Policy:
        if "first" not in self.__dict__:
            self.__dict__["first"] = super().current()
        first: Policy = self.__dict__["first"]
        return first


class OneIsEnough(BallotBox):
    """The first vote approves, however many are needed."""

    def _count(
        self, tx: Tx, action: Action, ballot: Ballot, key: Any, now: Any, *, people: People, papers: Papers
    ) -> Action:
        if ballot.decision == "approve":
            return move(tx, now, action, State.APPROVED, "approved", by=key.name)
        return super()._count(tx, action, ballot, key, now, people=people, papers=papers)


class AnyRevision(BallotBox):
    """A vote about what was shown before counts for what is asked now."""

    def cast(self, ballot: Ballot, key: Any) -> Action:
        with self._store.read() as tx:
            now = find(tx, ballot.action_id)
        return super().cast(replace(ballot, revision=now.revision), key)


class QuietWithdrawal(Desk):
    """Says it is withdrawn, and forgets to write it down."""

    def withdraw(self, action_id: str, principal: Principal) -> Action:
        with self._store.read() as tx:
            return find(tx, action_id).model_copy(update={"state": State.WITHDRAWN})


class _FaultyTx(Tx):
    """A transaction that answers one statement wrongly."""

    @classmethod
    def like(cls, tx: Tx) -> Tx:
        return cls(tx.connection, tx.dialect)


class Unmindful(_FaultyTx):
    """A day's total that leaves out what nobody knows the outcome of."""

    def one(self, name: str, /, **values: Value) -> Row | None:
        row = super().one(name, **values)
        if row is None or name != "totals":
            return row
        unknown = [one for one in self.all("actions_after", after="", limit=1000) if one["state"] == "unknown"]
        mine = [one for one in unknown if one["requester"] == values["requester"] and one["id"] != values["except_id"]]
        return {**row, "daily_total": row["daily_total"] - sum(int(one["amount"]) for one in mine)}


class Unfrozen(_FaultyTx):
    """Nobody reads the kill switch."""

    def one(self, name: str, /, **values: Value) -> Row | None:
        return None if name == "freeze_head" else super().one(name, **values)


def _not_own(_right: Right, _action: Action) -> bool:
    return False


def _unheard(_people: People, _one: object, by: object, _said: object) -> list[object]:
    return [by]


def _alone(right: Right) -> frozenset[str]:
    return frozenset({f"{right.operator} for {right.acting_for}"})


def _numbers_only() -> dict[str, Any]:
    return {name: replace(row, look_up=row.look_up and number_is_enough) for name, row in OPERATIONS.items()}


@dataclass(frozen=True, slots=True)
class Bug:
    """A faulty room, the troubles in which it shows, and what the oracle says of it."""

    rooms: Rooms
    troubles: frozenset[str]
    words: str
    holes: tuple[tuple[object, str, object], ...] = ()
    """What no room can replace: where it is, its name, and what stands there instead."""


def _hole(words: str, place: object, name: str, instead: object, *troubles: str) -> Bug:
    return Bug(Rooms(), frozenset(troubles), words, ((place, name, instead),))


def _bug(words: str, *troubles: str, **rooms: Any) -> Bug:
    return Bug(Rooms(**rooms), frozenset(troubles), words)


BUGS: Final[Mapping[str, Bug]] = {
    "the fence always opens": _bug("while everything was frozen", "freeze", "stalls", claims=OpenGuard),
    "the fence forgets the lease": _bug("left after its lease", "stalls", claims=EndlessLease),
    "nothing is journaled": _bug("without a line in the journal", claims=Unwritten),
    "an answer is recorded in another's claim": _bug("nobody can know", "stalls", "jumps", claims=AnyEpoch),
    "an unknown outcome is claimed": _bug("left again after", "provider", claims=AnyState),
    "votes count without their revision": _bug("votes", "policy", claims=SameRevision),
    "a vote counts for what was not shown": _bug("votes", "policy", ballots=AnyRevision),
    "one vote is enough": _bug("was approved with 1 of 2 votes", ballots=OneIsEnough),
    "expiry approves": _bug("was approved with 0 of", claims=ExpiryApproves),
    "a row changes without the log": _bug("the audit does not hold", claims=Silent),
    "a lost answer means not sent": _bug("said not to have left", "provider", claims=UnseenUnsent),
    "a server error means refused": _bug("is failed, yet", "provider", claims=ServerErrorIsRefusal),
    "a lost answer is tried again": _bug("left again after", "provider", executor=SendsTwice),
    "a conflict means done": _bug("succeeded, but the book says", "by hand", executor=ConflictIsSuccess),
    "absent is believed at once": _bug("left again after", "provider", reconciliation=Hasty),
    "a dead sender sent nothing": _bug("said not to have left", "deaths", reconciliation=DeadIsUnsent),
    "absent means failed": _bug("from unknown to failed", "provider", reconciliation=AbsentFails),
    "the dead are forgotten": _bug("never ended: it is executing", "deaths", reconciliation=Forgetful),
    "the policy is read once": _bug("was claimed", "policy", shelf=OldShelf),
    "a withdrawal is not stored": _bug("although it was withdrawn", desk=QuietWithdrawal),
    "a total without the unknown": _bug("yen, above", "provider", "daily", tx=Unmindful.like),
    "the kill switch is not read": _bug("while everything was frozen", "freeze", tx=Unfrozen.like),
    "an editor decides on their own work": _hole("with 0 of", votes, "_is_own", _not_own),
    "a lent right is another person": _hole("with 1 of 2", Right, "people", property(_alone), "lent"),
    "what was taken back still counts": _hole("votes", mandates, "_undelegate", _unheard, "lent"),
    "the look-up compares the number only": _bug(
        "succeeded, but the book says", "by hand", "provider", operations=_numbers_only()
    ),
}
"""Each a room with one fault in it."""
