"""Proposing: judge a plan under the lock and store action, verdict and audit row in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from seikyu.errors import NotAllowed, NotFound, StoreDamaged, Taken, Text
from seikyu.gate import freezing
from seikyu.gate.actions import Action, State, action_of, find, move, new_row, notes_json, tell, verdict_json
from seikyu.gate.canonical import canonical_action, sha256
from seikyu.gate.facts import Situation, counterparty_key, gather
from seikyu.gate.listing import Page, page_of
from seikyu.gate.mandates import People, trusted
from seikyu.gate.policy import Policy, PolicyBook
from seikyu.gate.seats import lacking
from seikyu.gate.votes import approvals
from seikyu.models import Clock, jst_date, timestamp
from seikyu.settings import Settings
from seikyu.spec import Connection, Plan, Principal, Verdict, WriteOperation
from seikyu.store.database import Row, Store, Tx

REJECTION_STANDS: Final = timedelta(hours=24)
"""The same call after a rejection is answered with that rejection, so that nobody is worn down by asking."""

MAX_AWAITING: Final = 100
"""Open requests of one requester; a looping agent must not bury the operators."""

Operation = WriteOperation[Any]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A write on its way into the gate."""

    action_id: str
    tool: str
    call_digest: str
    """SHA-256 of requester, tool, connection, arguments and documents: the same call is the same action."""
    principal: Principal
    connection: Connection
    operation: Operation
    plan: Plan
    arguments: str | None = None
    """The call, canonical JSON without the connection: what an edit changes."""


class Desk:
    """Where actions are proposed, looked at and withdrawn. Nothing here sends or approves."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, book: PolicyBook) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._book = book

    def judge(self, proposal: Proposal) -> Verdict:
        """What the policy says now; nothing is stored.

        Raises:
            ConfigurationError: the policy cannot be read.
        """
        policy = self._book.current()
        with self._store.read() as tx:
            return self._verdict(policy, self._situation(tx, policy, proposal))

    def same_call(self, call_digest: str) -> Action | None:
        """The open or finished action this call already made."""
        with self._store.read() as tx:
            return self._earlier(tx, call_digest)

    def propose(self, proposal: Proposal) -> Action:
        """Store the action with its verdict; the same call again answers with the action it made.

        Raises:
            ConfigurationError: the policy cannot be read; nothing was stored.
            NotAllowed: too many open requests, the natural key is in use by another action, or the database was
                restored and may have forgotten that this very call was sent.
        """
        # the second time it finds what the first one stored, if it did
        return self._store.sure(lambda: self._propose(proposal), lambda: self._propose(proposal, is_again=True))

    def _propose(self, proposal: Proposal, *, is_again: bool = False) -> Action:
        policy = self._book.current()
        with self._store.write() as tx:
            stored = self._stored(tx, proposal) if is_again else None
            earlier = stored or self._earlier(tx, proposal.call_digest)
            if earlier is not None:
                return earlier
            _refuse_held(tx)
            self._refuse_flood(tx, proposal.principal.requester)
            refuse_taken_key(tx, proposal)
            situation = self._situation(tx, policy, proposal)
            verdict = self._verdict(policy, situation)
            return self._insert(tx, proposal, policy, situation, verdict)

    def withdraw(self, action_id: str, principal: Principal) -> Action:
        """Take an own request back, before it is being sent.

        Raises:
            NotFound: not this requester's.
            NotAllowed: it is being sent, or it is over.
        """
        return self._store.sure(
            lambda: self._withdraw(action_id, principal), lambda: self._withdraw(action_id, principal)
        )

    def _withdraw(self, action_id: str, principal: Principal) -> Action:
        now = self._clock.now()
        with self._store.write() as tx:
            action = own(find(tx, action_id), principal)
            if action.state is State.WITHDRAWN:
                return action
            if action.state not in {State.AWAITING, State.APPROVED}:
                raise NotAllowed(
                    Text(
                        f"{action_id} は {action.state} のため取り下げできません。",
                        f"{action_id} is {action.state} and cannot be withdrawn.",
                    ),
                    Text("get_action で結果を確かめてください。", "Call get_action for its outcome."),
                    written=Text("", ""),
                )
            return move(tx, now, action, State.WITHDRAWN, "withdrawn", by=principal.requester)

    def get(self, action_id: str, principal: Principal) -> Action:
        """An own action. Raises `NotFound`."""
        with self._store.read() as tx:
            return own(find(tx, action_id), principal)

    def page(self, *, requester: str | None, state: str | None, limit: int, cursor: str | None) -> Page:
        """Newest first, at most `limit`, of one requester or of all."""
        whose, who = ("_all", {}) if requester is None else ("", {"requester": requester})
        with self._store.read() as tx:
            rows = tx.all(f"actions_of{whose}", **who, state=state, cursor=cursor, limit=limit + 1)
            count = tx.one(f"count_actions_of{whose}", **who, state=state)
        return page_of(rows, int((count or {"total": 0})["total"]), limit)

    def have_votes(self, actions: Sequence[Action]) -> Mapping[str, int]:
        """By action, the approvals that hold now and fill a place; 0 while the operators' records are in doubt."""
        have = dict.fromkeys((action.id for action in actions), 0)
        if not have:
            return have
        with self._store.read() as tx:
            # most of what waits has no vote yet: the others alone are worth looking at one by one
            voted = {row["action_id"] for row in tx.all("voted_between", first=min(have), last=max(have))}
            people = _trusted(tx)
            return have | {action.id: _have(tx, action, people) for action in actions if action.id in voted}

    def _stored(self, tx: Tx, proposal: Proposal) -> Action | None:
        row = tx.one("action", id=proposal.action_id)
        return None if row is None else action_of(row)

    def _earlier(self, tx: Tx, call_digest: str) -> Action | None:
        after = timestamp(self._clock.now() - REJECTION_STANDS)
        row = tx.one("live_call", call_digest=call_digest, rejected_after=after)
        return None if row is None else action_of(row)

    def _refuse_flood(self, tx: Tx, requester: str) -> None:
        count = tx.one("count_awaiting_of", requester=requester)
        if count is not None and count["total"] >= MAX_AWAITING:
            raise NotAllowed(
                Text(
                    f"承認待ちが{MAX_AWAITING}件あるため、これ以上申請できません。",
                    f"{MAX_AWAITING} requests are waiting for approval already.",
                ),
                Text(
                    "承認を待つか、不要な申請を取り下げてください。",
                    "Wait for the operators, or withdraw what is not needed.",
                ),
            )

    def _situation(self, tx: Tx, policy: Policy, proposal: Proposal) -> Situation:
        return situation_of(tx, policy, proposal, self._clock.now())

    def _verdict(self, policy: Policy, situation: Situation) -> Verdict:
        return policy.decide(situation.facts)

    def _insert(self, tx: Tx, proposal: Proposal, policy: Policy, situation: Situation, verdict: Verdict) -> Action:
        now = self._clock.now()
        content = canonical_action(proposal.connection, proposal.plan)
        state = {"deny": State.DENIED, "allow": State.APPROVED, "ask": State.AWAITING}[verdict.kind]
        timing = self._settings.timing
        wait = timing.approved_s if state is State.APPROVED else timing.awaiting_s
        tx.run("remember_policy", sha256=policy.sha256, source=policy.source, first_used_at=timestamp(now))
        row = new_row(
            id=proposal.action_id,
            state=state.value,
            tool=proposal.tool,
            operation=proposal.operation.name,
            kind=proposal.operation.kind,
            connection=proposal.connection.name,
            requester=proposal.principal.requester,
            surface=proposal.principal.surface,
            **columns(proposal, content, now),
            notes=notes_json(proposal.plan.notes, situation.twins),
            verdict=verdict_json(verdict),
            approvers=verdict.approvers,
            created_at=timestamp(now),
            updated_at=timestamp(now),
            jst_day=jst_date(now).isoformat(),
            expires_at=timestamp(now + timedelta(seconds=wait)),
        )
        try:
            tx.run("add_action", **row)
        except Taken as error:
            raise NotAllowed(
                Text("同じ申請が同時に登録されました。", "The same request was made at the same moment.")
            ) from error
        tell(
            tx,
            now,
            "proposed",
            row,
            operation=proposal.operation.name,
            connection=proposal.connection.name,
            requester=proposal.principal.requester,
            surface=proposal.principal.surface,
            verdict=verdict.kind,
            approvers=verdict.approvers,
            why=verdict.why,
            policy=policy.sha256,
            twins=list(situation.twins),
            facts=situation.facts.model_dump(mode="json", exclude_unset=True),
        )
        return action_of(row)


def _trusted(tx: Tx) -> People:
    try:
        return trusted(tx)
    except StoreDamaged:
        return {}


def _have(tx: Tx, action: Action, people: People) -> int:
    try:
        return max(0, action.approvers - lacking(action.decision, approvals(tx, action, people)).people)
    except StoreDamaged:
        return 0


def situation_of(tx: Tx, policy: Policy, proposal: Proposal, now: datetime) -> Situation:
    """What the policy is to judge."""
    return gather(
        tx,
        action_id=proposal.action_id,
        requester=proposal.principal.requester,
        connection=proposal.connection,
        operation=proposal.operation,
        particulars=proposal.plan.particulars,
        file_sha256=file_sha256(proposal.plan),
        now=now,
        duplicate_days=policy.file.duplicate_days,
        with_month=policy.asks_for_month,
    )


def columns(proposal: Proposal, content: bytes, proposed_at: datetime) -> dict[str, str | int | None]:
    """The columns that follow from what is proposed: call, content, and what the facts are counted by."""
    particulars = proposal.plan.particulars
    day = particulars.transaction_date
    return {
        "call_digest": proposal.call_digest,
        "arguments": proposal.arguments,
        "canonical": content.decode(),
        "digest": sha256(content),
        "natural_key": proposal.plan.natural_key,
        "amount": particulars.recorded_amount,
        "counterparty_id": particulars.counterparty_id,
        "counterparty_key": counterparty_key(particulars.counterparty_name),
        "transaction_date": None if day is None else day.isoformat(),
        "file_sha256": file_sha256(proposal.plan),
        "destination": particulars.destination,
        "business_day": (day or jst_date(proposed_at)).isoformat(),
    }


def file_sha256(plan: Plan) -> str | None:
    """The digest of the plan's document, when it has one."""
    return plan.request.files[0].sha256 if plan.request.files else None


def own(action: Action, principal: Principal) -> Action:
    """`action`, when it is the caller's.

    Raises:
        NotFound: the same answer as for an id that does not exist.
    """
    if action.requester != principal.requester:
        raise NotFound(
            Text("その番号の申請はありません。", "There is no action of that id."),
            Text("list_actions で確かめてください。", "Call list_actions."),
        )
    return action


def _refuse_held(tx: Tx) -> None:
    for hold in freezing.holds(tx)[:1]:
        raise NotAllowed(hold.text)


def refuse_taken_key(tx: Tx, proposal: Proposal) -> None:
    """Raises `NotAllowed` when another open or done action has the natural key."""
    if proposal.plan.natural_key is None:
        return
    row = tx.one(
        "live_natural_key",
        connection=proposal.connection.name,
        operation=proposal.operation.name,
        natural_key=proposal.plan.natural_key,
    )
    if row is not None and row["id"] != proposal.action_id:
        raise _taken_key(proposal.plan.natural_key, row, proposal.principal)


def _taken_key(key: str, row: Row, principal: Principal) -> NotAllowed:
    """Names the other action to its own requester only: nobody else can look at it."""
    if row["requester"] != principal.requester:
        return NotAllowed(
            Text(f"{key} は別の依頼者の申請で使われています。", f"{key} is in use by another requester's action."),
            Text("別の番号を使ってください。", "Choose another number."),
        )
    return NotAllowed(
        Text(f"{key} は別の申請 {row['id']} で使われています。", f"{key} is in use by another action, {row['id']}."),
        Text("その申請を確かめるか、別の番号を使ってください。", "Look at that action, or choose another number."),
    )
