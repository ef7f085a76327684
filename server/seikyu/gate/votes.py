"""Votes: an operator's decision, sealed over the digest of what they read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, cast

from seikyu.errors import NOTHING, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.actions import STATE_TEXT, Action, State, find, move, text_json
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.operators import Key, Operator, is_signed, same_person, trusted
from seikyu.gate.witness import vote_hash
from seikyu.models import Clock, timestamp
from seikyu.settings import Timing
from seikyu.store.database import Row, Store, Tx

Decision: TypeAlias = Literal["approve", "reject", "return", "revoke", "resolve"]

_NO_VOTE = Text("決定は記録されていません。", "No decision was recorded.")
_DECIDED_IN: Final = {"revoke": State.APPROVED, "resolve": State.MANUAL_REVIEW}
MAX_REASON: Final = 500
"""Characters."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What an operator decides, about exactly what they saw."""

    action_id: str
    digest: str
    """All 64 hex digits of what was shown."""
    decision: Decision
    reason: str = ""
    via: str = "cli"


class BallotBox:
    """Takes votes, and says at execution whether they still hold."""

    def __init__(
        self, store: Store, clock: Clock, timing: Timing, on_resolved: Callable[[Tx, Action], None] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._timing = timing
        self._on_resolved = on_resolved

    def cast(self, ballot: Ballot, key: Key) -> Action:
        """Record a sealed decision.

        Raises:
            VoteRefused: own request, already decided, expired, changed since it was shown, no right to vote.
            NotFound: no such action.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            action = find(tx, ballot.action_id)
            _check_right(tx, action, ballot, key, now)
            _seal(tx, action, ballot, key, now)
            return self._count(tx, action, ballot, key, now)

    def resolve(self, ballot: Ballot, key: Key, *, reference: str | None) -> Action:
        """Close an action nobody but a person can look up; `ballot.reason` is the evidence.

        `reference` is the provider's id of what exists, or None when nothing exists.

        Raises:
            VoteRefused: as for a vote; the requester may not say what became of their own request.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            action = find(tx, ballot.action_id)
            _check_right(tx, action, ballot, key, now)
            _seal(tx, action, ballot, key, now, resolved_as=reference or "nothing")
            to = State.FAILED if reference is None else State.SUCCEEDED
            said: dict[str, Any] = {"by": key.name, "evidence": ballot.reason, "via": ballot.via}
            done = move(tx, now, action, to, "resolved", reference=reference, outcome=None, **said)
            if self._on_resolved is not None:
                self._on_resolved(tx, done)
            return done

    def _count(self, tx: Tx, action: Action, ballot: Ballot, key: Key, now: datetime) -> Action:
        said: dict[str, Any] = {"by": key.name, "reason": ballot.reason, "via": ballot.via}
        because = text_json(Text(f"{key.name}: {ballot.reason}", f"{key.name}: {ballot.reason}"))
        if ballot.decision == "reject":
            return move(tx, now, action, State.REJECTED, "rejected", outcome=because, **said)
        if ballot.decision == "return":
            return move(tx, now, action, State.RETURNED, "returned", outcome=because, **said)
        if ballot.decision == "revoke":
            return move(tx, now, action, State.REVOKED, "revoked", **said)
        if len(approvals(tx, action)) < action.approvers:
            audit.append(tx, now, "voted", action.id, digest=action.digest, decision="approve", **said)
            return action
        until = timestamp(now + timedelta(seconds=self._timing.approved_s))
        return move(tx, now, action, State.APPROVED, "approved", expires_at=until, **said)


def _check_right(tx: Tx, action: Action, ballot: Ballot, key: Key, now: datetime) -> None:
    if action.state is not _DECIDED_IN.get(ballot.decision, State.AWAITING):
        stands = STATE_TEXT[action.state]
        raise _refuse(
            Text(f"{action.id} は「{stands.ja}」です。", f"{action.id} is {stands.en}."),
            Text("この決定はできません。", "This cannot be decided."),
        )
    if len(ballot.reason) > MAX_REASON:
        raise _refuse(
            Text(f"理由は{MAX_REASON}字までです。", f"A reason has at most {MAX_REASON} characters."), NOTHING
        )
    if action.is_over(now):
        raise _refuse(
            Text(f"{action.id} は期限切れです。", f"{action.id} has expired."),
            Text("申請し直してもらってください。", "Ask for it to be proposed again."),
        )
    if ballot.digest != action.digest:
        raise _refuse(
            Text("表示された内容と現在の内容が違います。", "What you saw is not what the action says now."),
            Text("もう一度表示して確かめてください。", "Look at it again."),
        )
    if key.name not in trusted(tx):
        raise _refuse(Text(f"{key.name} には決定の権限がありません。", f"{key.name} may not decide."), NOTHING)
    if same_person(key.name, action.requester):
        raise _refuse(
            Text("自分の申請は決定できません。", "Nobody decides on their own request."),
            Text("別の操作者に頼んでください。", "Ask another operator."),
        )
    if any(vote["operator"] == key.name and vote["decision"] == ballot.decision for vote in _votes(tx, action)):
        raise _refuse(
            Text("あなたの決定は既に記録されています。", "Your decision is recorded already."),
            Text("他の操作者を待ってください。", "Wait for the others."),
        )


def _refuse(what: Text, next_step: Text) -> VoteRefused:
    return VoteRefused(what, next_step, written=_NO_VOTE)


def _statement(action: Action, ballot: Ballot, key: Key, now: datetime, resolved_as: str | None) -> bytes:
    return canonical(
        {
            "action": action.id,
            "revision": action.revision,
            "digest": action.digest,
            "decision": ballot.decision,
            "reason": ballot.reason,
            "expires_at": action.expires_at,
            "operator": key.name,
            "voted_at": timestamp(now),
            "resolved_as": resolved_as,
        }
    )


def _seal(tx: Tx, action: Action, ballot: Ballot, key: Key, now: datetime, *, resolved_as: str | None = None) -> None:
    statement = _statement(action, ballot, key, now, resolved_as)
    vote: dict[str, str | int] = {
        "action_id": action.id,
        "revision": action.revision,
        "operator": key.name,
        "decision": ballot.decision,
        "statement": statement.decode(),
        "seal": key.sign(statement),
        "via": ballot.via,
        "voted_at": timestamp(now),
    }
    tx.run("add_vote", **vote)
    said = {"operator": key.name, "decision": ballot.decision, "statement_sha256": sha256(statement)}
    audit.append(tx, now, "sealed", action.id, **said, vote=vote_hash(vote))


def _votes(tx: Tx, action: Action) -> list[Row]:
    return tx.all("votes", action_id=action.id, revision=action.revision)


def approvals(tx: Tx, action: Action) -> list[str]:
    """The operators whose sealed approval of exactly this content holds now.

    Raises:
        StoreDamaged: a vote's seal does not hold, so somebody wrote into the database.
    """
    operators = trusted(tx)
    names: list[str] = []
    for vote in _votes(tx, action):
        if vote["operator"] in operators:
            _check_seal(action, vote, operators[vote["operator"]])
            if vote["decision"] == "approve" and not same_person(vote["operator"], action.requester):
                names.append(vote["operator"])
    return names


def _check_seal(action: Action, vote: Row, operator: Operator) -> None:
    about = {"action": action.id, "revision": action.revision, "digest": action.digest}
    about |= {"operator": operator.name, "decision": vote["decision"], "voted_at": vote["voted_at"]}
    if not _says(vote["statement"], about) or not _is_sealed(vote, operator):
        raise StoreDamaged(
            Text(
                f"{action.id} の承認の署名が正しくありません。",
                f"The seal of {operator.name} on {action.id} does not hold.",
            ),
            Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."),
            written=NOTHING,
        )


def _says(statement: str, about: Mapping[str, object]) -> bool:
    """Whether a stored statement is JSON and says all of `about`."""
    try:
        said: object = json.loads(statement)
    except ValueError:
        return False
    return isinstance(said, dict) and about.items() <= cast("dict[str, object]", said).items()


def _is_sealed(vote: Row, operator: Operator) -> bool:
    return is_signed(operator.public_key, str(vote["statement"]).encode(), str(vote["seal"]))


def check_digest(action: Action) -> None:
    """Raises `StoreDamaged` when the stored content is not what its digest says."""
    if sha256(action.canonical.encode()) != action.digest:
        raise StoreDamaged(
            Text(f"{action.id} の内容が書き換えられています。", f"The content of {action.id} was changed."),
            Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."),
            written=NOTHING,
        )
