"""What really happened, told by the world itself, and everything the gate must not have done about it.

Nothing here asks the gate whether something was right: it counts requests, votes, effects and hours by itself, and
reads of the gate only what it says: an action's state, as any caller would see it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from seikyu.models import jst_date
from seikyu.spec import OutcomeClass, ProviderRequest, WriteOperation
from simulation.providers import Fields, Provider
from simulation.rules import Rules
from simulation.scheduler import WallClock

QUIET_S: Final = 60
APPROVED_S: Final = 24 * 3600
LEASE_S: Final = 90

NOT_WRITTEN: Final = frozenset({"denied", "rejected", "returned", "withdrawn", "revoked", "expired", "failed"})
SETTLED: Final = NOT_WRITTEN | {"succeeded"}
CLOSING: Final = frozenset({"rejected", "returned", "withdrawn", "revoked"})

WAYS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"denied", "approved", "awaiting_approval"}),
    "awaiting_approval": frozenset({"approved", "rejected", "returned", "withdrawn", "expired", "manual_review"}),
    "approved": frozenset(
        {"executing", "withdrawn", "revoked", "expired", "awaiting_approval", "denied", "manual_review"}
    ),
    "executing": frozenset({"succeeded", "failed", "unknown", "approved", "manual_review"}),
    "unknown": frozenset({"succeeded", "approved", "manual_review"}),
    "manual_review": frozenset({"succeeded", "failed"}),
}
"""An action's life, written down a second time."""


@dataclass(frozen=True, slots=True)
class Vote:
    operator: str
    round: int
    """How often the gate had asked anew, or somebody had edited, when the operator looked."""
    at: datetime
    acting_for: str | None = None

    @property
    def people(self) -> frozenset[str]:
        return frozenset(name for name in (self.operator, self.acting_for) if name is not None)


@dataclass
class Loan:
    """A right that was lent."""

    lender: str
    to: str
    since: datetime
    until: date
    is_back: bool = False


@dataclass
class Asked:
    """One action, as the world knows it."""

    action_id: str
    requester: str
    connection: str
    operation: WriteOperation[Any]
    fields: Fields
    at: datetime
    drafts: list[tuple[str, Fields]] = field(default_factory=list[tuple[str, Fields]])
    """What somebody tried to make of it, and who."""
    editors: set[str] = field(default_factory=set[str])
    revision: int = 1
    state: str = ""
    states: list[str] = field(default_factory=list[str])
    round: int = 0
    needs: int = 0
    """Votes, at least, by the policy there was when it was asked for, or asked for anew."""
    votes: list[Vote] = field(default_factory=list[Vote])
    closed: str | None = None
    """How it ended, once somebody was told so."""
    claims: int = 0
    claimed_day: date | None = None
    claimed_order: int = 0
    claimed_at: datetime | None = None
    limit: int = 0
    left: int = 0
    left_in_claim: bool = False
    left_at_s: int = 0
    in_flight: int = 0
    effects: int = 0

    def __post_init__(self) -> None:
        self.call = self.fields
        """As it was asked for first, whatever was made of it since."""
        self.forms = [self.fields]
        """Everything it has been."""

    @property
    def amount(self) -> int:
        return int(self.fields["amount"])

    def is_approved_with(self, loan: Loan) -> bool:
        return any((vote.acting_for, vote.operator) == (loan.lender, loan.to) for vote in self.votes)

    @property
    def makers(self) -> set[str]:
        return {self.requester, *self.editors}


def _apart(groups: Sequence[frozenset[str]]) -> int:
    """How many of the groups can be chosen so that no two share a person."""
    if not groups:
        return 0
    first, rest = groups[0], groups[1:]
    return max(_apart(rest), 1 + _apart([group for group in rest if not group & first]))


class Oracle:
    """Told of everything; keeps a list of what must never be."""

    def __init__(self, clock: WallClock) -> None:
        self.clock = clock
        self.asked: dict[str, Asked] = {}
        self.providers: dict[str, Provider] = {}
        self.faults: list[str] = []
        self.loans: list[Loan] = []
        self.rules: Rules | None = None
        self.journal: Sequence[bytes] = ()
        """What stands outside the database of what has left."""
        self.is_frozen = False
        """Certainly: somebody was told so, and nobody has tried to lift it since."""
        self._orders = 0

    def blame(self, action_id: str, words: str) -> None:
        self.faults.append(f"{action_id}: {words}")

    # what people do

    def proposes(self, asked: Asked) -> None:
        self.asked[asked.action_id] = asked

    def approves(self, action_id: str, operator: str, *, seen: int, acting_for: str | None) -> None:
        """An operator is about to approve what they were shown in round `seen`."""
        self.asked[action_id].votes.append(Vote(operator, seen, self.clock.now(), acting_for))

    def is_shown(self, action_id: str, request: ProviderRequest) -> None:
        """This very moment."""
        if request.body != self.asked[action_id].fields:
            self.blame(action_id, "was shown with other fields than were asked for")

    def edits(self, action_id: str, editor: str, fields: Fields) -> None:
        """Somebody is about to make this of it."""
        self.asked[action_id].drafts.append((editor, fields))

    def lends(self, lender: str, to: str, until: date) -> None:
        """An operator is about to lend their right."""
        self.loans.append(Loan(lender, to, self.clock.now(), until))

    def took_back(self, lender: str, to: str) -> None:
        """An operator was told that they have their right back."""
        for loan in self.loans:
            loan.is_back |= (loan.lender, loan.to) == (lender, to)

    def have(self, asked: Asked) -> int:
        """How many approvals stand behind it, no two of which share a person, at the most."""
        standing = [vote for vote in asked.votes if vote.round == asked.round and self._stands(vote, asked)]
        return _apart([vote.people for vote in standing])

    def _stands(self, vote: Vote, asked: Asked) -> bool:
        is_lent = vote.acting_for is None or any(
            (loan.lender, loan.to, loan.is_back) == (vote.acting_for, vote.operator, False)
            and loan.since <= vote.at
            and jst_date(vote.at) <= loan.until
            for loan in self.loans
        )
        return is_lent and not vote.people & asked.makers

    def is_told(self, action_id: str, state: str) -> None:
        """Somebody was answered that the action is now in `state`."""
        if state in CLOSING:
            self.asked[action_id].closed = state

    # what the gate says

    def sees(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The states after a transaction."""
        for row in rows:
            asked = self.asked[row["id"]]
            if asked.revision != row["revision"]:
                self._is_new(asked, row)
            if asked.state != row["state"]:
                self._moves(asked, str(row["state"]))

    def _is_new(self, asked: Asked, row: Mapping[str, Any]) -> None:
        """It was asked anew as it is, or edited into something that somebody wants."""
        asked.revision, says = row["revision"], json.loads(row["canonical"])["request"]["body"]
        if says == asked.fields:
            return
        editors = {editor for editor, fields in asked.drafts if fields == says}
        if not editors or asked.state != "awaiting_approval" or asked.left:
            self.blame(asked.action_id, f"was edited while it was {asked.state}, by {sorted(editors)}")
        asked.fields, asked.round = says, asked.round + 1
        asked.forms.append(says)
        asked.editors |= editors if len(editors) == 1 else set()
        asked.needs = self._asks(asked)

    def _asks(self, asked: Asked) -> int:
        return (self.rules and self.rules.needs(asked.amount, total=0, is_twin=False)) or 1

    def _moves(self, asked: Asked, to: str) -> None:
        before, asked.state = asked.state, to
        asked.states.append(to)
        if to not in WAYS.get(before, frozenset()):
            self.blame(asked.action_id, f"there is no way from {before or 'nothing'} to {to}")
        if to == "awaiting_approval":
            asked.round += bool(before)
            asked.needs = self._asks(asked)
        if to == "approved":
            self._is_approved(asked, before)
        if to in NOT_WRITTEN and (asked.effects or asked.in_flight):
            self.blame(asked.action_id, f"is {to}, yet {asked.effects} effects, {asked.in_flight} requests under way")
        if to == "succeeded":
            self._is_booked(asked, by_person=before == "manual_review")

    def _is_approved(self, asked: Asked, before: str) -> None:
        have = self.have(asked)
        if before == "awaiting_approval" and have < asked.needs:
            self.blame(asked.action_id, f"was approved with {have} of {asked.needs} votes")
        if before == "executing" and asked.left_in_claim:
            self.blame(asked.action_id, "is said not to have left, but it has")
        if before == "unknown" and asked.operation.outcome_class is not OutcomeClass.A:
            self.blame(asked.action_id, "is to be sent again, though nobody can know")

    def _is_booked(self, asked: Asked, *, by_person: bool) -> None:
        there = [entry.fields for entry in self.providers[asked.connection].under(asked.fields["number"])]
        if asked.fields not in there and not (by_person and there):
            self.blame(asked.action_id, f"succeeded, but the book says {there}")

    def claimed(self, action_id: str, request: ProviderRequest) -> None:
        """A process has the right to send, this very moment."""
        asked, now = self.asked[action_id], self.clock.now()
        asked.claims += 1
        asked.left_in_claim = False
        self._orders += 1
        asked.claimed_day, asked.claimed_order, asked.claimed_at = jst_date(now), self._orders, now
        asked.limit = 0 if self.rules is None else self.rules.day
        self._has_right(asked, request)
        self._is_permitted(asked)
        decided = max([asked.at, *(vote.at for vote in asked.votes)])
        if now - decided > timedelta(seconds=APPROVED_S):
            self.blame(action_id, "was claimed after its approval expired")

    def _has_right(self, asked: Asked, request: ProviderRequest) -> None:
        if asked.closed is not None:
            self.blame(asked.action_id, f"was claimed although it was {asked.closed}")
        if self.is_frozen:
            self.blame(asked.action_id, "was claimed while everything was frozen")
        if (request.operation, request.body) != (asked.operation.name, asked.fields):
            self.blame(asked.action_id, "was claimed with other fields than were asked for")

    def _is_permitted(self, asked: Asked) -> None:
        if self.rules is None:
            self.blame(asked.action_id, "was claimed while the policy could not be read")
            return
        needs = self.rules.needs(asked.amount, total=self._certain(asked), is_twin=self._has_twin(asked))
        have = self.have(asked)
        if needs is None:
            self.blame(asked.action_id, "was claimed against the policy")
        elif have < needs:
            self.blame(asked.action_id, f"was claimed with {have} of {needs} votes")

    def _certain(self, asked: Asked) -> int:
        """Yen certainly booked or to be booked this day, this action included."""
        same = [one for one in self.asked.values() if one is not asked and one.effects]
        return asked.amount + sum(
            one.amount for one in same if (one.requester, one.claimed_day) == (asked.requester, asked.claimed_day)
        )

    def _has_twin(self, asked: Asked) -> bool:
        key = (asked.fields["customer"], asked.amount)
        return any(
            (one.fields["customer"], one.amount) == key and one.effects and one.state == "succeeded"
            for one in self.asked.values()
            if one is not asked
        )

    # what the world sees

    def leaves(self, action_id: str, connection: str, request: ProviderRequest) -> None:
        """The first byte leaves, this very moment."""
        asked = self.asked[action_id]
        self._has_right(asked, request)
        if connection != asked.connection:
            self.blame(action_id, f"left for {connection} instead of {asked.connection}")
        if asked.state != "executing":
            self.blame(action_id, f"left while it was {asked.state}")
        if asked.claimed_at is None or self.clock.now() - asked.claimed_at >= timedelta(seconds=LEASE_S):
            self.blame(action_id, f"left after its lease, which began {asked.claimed_at}")
        if not self.journal or json.loads(self.journal[-1])["row"]["id"] != action_id:
            self.blame(action_id, "left without a line in the journal")
        if asked.left:
            self._leaves_again(asked)
        asked.left += 1
        asked.left_in_claim = True
        asked.left_at_s = self.clock.longest_s
        asked.in_flight += 1

    def _leaves_again(self, asked: Asked) -> None:
        if asked.operation.outcome_class is not OutcomeClass.A:
            self.blame(asked.action_id, "left twice, though nobody can know")
        elif self.clock.longest_s - asked.left_at_s < QUIET_S:
            self.blame(asked.action_id, f"left again after {self.clock.longest_s - asked.left_at_s} s")

    def lands(self, action_id: str, *, is_booked: bool) -> None:
        """The provider acted on it."""
        asked = self.asked[action_id]
        asked.in_flight -= 1
        if not is_booked:
            return
        asked.effects += 1
        # of one that was edited and refused, both what it was and what became of it may be asked for anew
        same = [one for one in self.asked.values() if any(form in asked.forms for form in one.forms)]
        if sum(one.effects for one in same) > 1:
            self.blame(action_id, "took effect twice")
        if asked.state in NOT_WRITTEN:
            self.blame(action_id, f"took effect although it is {asked.state}")
        self._within_limit(asked)

    def _within_limit(self, asked: Asked) -> None:
        whose = (asked.requester, asked.claimed_day)
        day = [one for one in self.asked.values() if one.effects and (one.requester, one.claimed_day) == whose]
        last = max(day, key=lambda one: one.claimed_order)
        total = sum(one.amount for one in day)
        if total > last.limit:
            self.blame(last.action_id, f"brought the day to {total} yen, above {last.limit}")

    # the end

    def ends(self, histories: Mapping[str, list[dict[str, Any]]], fault: str | None) -> None:
        """Everything has had its time."""
        if fault is not None:
            self.faults.append(f"the audit does not hold: {fault}")
        for asked in self.asked.values():
            if asked.state:
                self._ends(asked, histories[asked.action_id])

    def _ends(self, asked: Asked, history: list[dict[str, Any]]) -> None:
        if asked.state not in SETTLED:
            self.blame(asked.action_id, f"never ended: it is {asked.state}")
        said = [str(row["state"]) for row in history if "state" in row]
        told = [state for place, state in enumerate(said) if place == 0 or said[place - 1] != state]
        if told != asked.states:
            self.blame(asked.action_id, f"the log says {told}, but it went {asked.states}")
        if sum(row["kind"] == "claimed" for row in history) < asked.left:
            self.blame(asked.action_id, f"left {asked.left} times with fewer claims in the log")
