"""Votes: an operator's decision, sealed over the digest of what they read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias, cast

from seikyu.errors import NOTHING, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit, slack
from seikyu.gate.actions import STATE_TEXT, Action, State, find, move, text_json
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.keys import Key, is_signed
from seikyu.gate.makers import check_edits, is_maker
from seikyu.gate.mandates import Operator, People, same_person, trusted
from seikyu.gate.papers import Papers, papers_of
from seikyu.gate.rights import Right, right_of
from seikyu.gate.seats import lacking
from seikyu.gate.witness import vote_hash
from seikyu.models import Clock, moment, shown, timestamp, yen_text
from seikyu.settings import Timing
from seikyu.store.database import Row, Store, Tx

Decision: TypeAlias = Literal["approve", "reject", "return", "revoke", "resolve"]

_LOST = Text("データベースとの接続が切れました。", "The connection to the database was lost.")
_NO_VOTE = Text("決定は記録されていません。", "No decision was recorded.")
_NOT_NOW = Text("この決定はできません。経過を確かめてください。", "This cannot be decided. Its history tells why.")
_UNDECIDED = Text(
    "まだ送信されません。止めるには却下（reject）か差戻し（return）にしてください。",
    "Nothing is sent before the last approval: to stop it, reject it or return it.",
)
_DECIDED_IN: Final = {"revoke": State.APPROVED, "resolve": State.MANUAL_REVIEW}
VIA_SLACK: Final = "slack"
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
    acting_for: str | None = None
    """Whose right is used, when it was lent; it is sealed with the decision."""
    click: slack.Click | None = None
    """Of a decision in Slack: the server's key seals it, for the operator the Slack user is linked to."""
    revision: int = 1
    """The one that was shown: asked anew, the content is the same and the reasons to ask are not."""


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
            VoteRefused: own request, already decided, expired, changed since it was shown, no right to vote, above
                the ceiling, or a person's second vote.
            NotFound: no such action.
        """
        now = self._clock.now()
        return self._store.sure(lambda: self._cast(ballot, key, now), lambda: self._recorded(ballot, key, now))

    def _cast(self, ballot: Ballot, key: Key, now: datetime) -> Action:
        with self._store.write() as tx:
            action, people = find(tx, ballot.action_id), trusted(tx)
            papers = papers_of(tx, action.id)
            _check_right(tx, action, ballot, key, now, people=people, papers=papers)
            papers = papers.with_vote(_seal(tx, action, ballot, key, now))
            return self._count(tx, action, ballot, key, now, people=people, papers=papers)

    def _recorded(self, ballot: Ballot, key: Key, now: datetime) -> Action:
        """After a commit without an answer: the action, if the vote is there.

        Raises:
            VoteRefused: it is not.
        """
        vote = {"operator": key.name, "decision": ballot.decision, "voted_at": timestamp(now)}
        with self._store.write() as tx:
            if tx.one("has_vote", action_id=ballot.action_id, **vote) is None:
                raise _refuse(_LOST, Text("もう一度決定してください。", "Decide again."))
            return find(tx, ballot.action_id)

    def resolve(self, ballot: Ballot, key: Key, *, reference: str | None) -> Action:
        """Say what became of an action nobody but a person can look up; `ballot.reason` is the evidence.

        `reference` is the provider's id of what exists, or None when nothing exists. The action is closed once as
        many operators as it needed, at least one, sealed the same; other conclusions do not add up.

        Raises:
            VoteRefused: as for a vote; the requester may not say what became of their own request.
            VoteRefused: `reference` is no id.
        """
        _check_reference(reference)
        now = self._clock.now()
        return self._store.sure(
            lambda: self._resolve(ballot, key, now, reference), lambda: self._recorded(ballot, key, now)
        )

    def _resolve(self, ballot: Ballot, key: Key, now: datetime, reference: str | None) -> Action:
        with self._store.write() as tx:
            action, people = find(tx, ballot.action_id), trusted(tx)
            papers = papers_of(tx, action.id)
            _check_right(tx, action, ballot, key, now, people=people, papers=papers)
            conclusion = _conclusion(reference)
            papers = papers.with_vote(_seal(tx, action, ballot, key, now, resolved_as=conclusion))
            agreed = len(conclusions(tx, action, people, papers)[conclusion])
            if agreed < max(1, action.approvers):
                seen: dict[str, Any] = {"by": key.name, "evidence": ballot.reason, "via": ballot.via}
                audit.append(tx, now, "concluded", action.id, digest=action.digest, resolved_as=conclusion, **seen)
                return action
            to = State.FAILED if reference is None else State.SUCCEEDED
            said: dict[str, Any] = {"by": key.name, "evidence": ballot.reason, "via": ballot.via}
            done = move(tx, now, action, to, "resolved", reference=reference, outcome=None, **said)
            if self._on_resolved is not None:
                self._on_resolved(tx, done)
            return done

    def _count(
        self, tx: Tx, action: Action, ballot: Ballot, key: Key, now: datetime, *, people: People, papers: Papers
    ) -> Action:
        said: dict[str, Any] = {"by": key.name, "reason": ballot.reason, "via": ballot.via}
        said |= {} if ballot.acting_for is None else {"acting_for": ballot.acting_for}
        because = text_json(Text(f"{key.name}: {ballot.reason}", f"{key.name}: {ballot.reason}"))
        if ballot.decision == "reject":
            return move(tx, now, action, State.REJECTED, "rejected", outcome=because, **said)
        if ballot.decision == "return":
            return move(tx, now, action, State.RETURNED, "returned", outcome=because, **said)
        if ballot.decision == "revoke":
            return move(tx, now, action, State.REVOKED, "revoked", **said)
        if lacking(action.decision, approvals(tx, action, people, papers)).people > 0:
            audit.append(tx, now, "voted", action.id, digest=action.digest, decision="approve", **said)
            return action
        until = timestamp(now + timedelta(seconds=self._timing.approved_s))
        return move(tx, now, action, State.APPROVED, "approved", expires_at=until, **said)


def _check_right(
    tx: Tx, action: Action, ballot: Ballot, key: Key, now: datetime, *, people: People, papers: Papers
) -> None:
    if action.state is not _DECIDED_IN.get(ballot.decision, State.AWAITING):
        stands = STATE_TEXT[action.state]
        raise _refuse(
            Text(f"{action.id} は「{stands.ja}」です。", f"{action.id} is {stands.en}."),
            _UNDECIDED if (ballot.decision, action.state) == ("revoke", State.AWAITING) else _NOT_NOW,
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
    if (ballot.digest, ballot.revision) != (action.digest, action.revision):
        raise _refuse(
            Text("表示された内容と現在の内容が違います。", "What you saw is not what the action says now."),
            Text("もう一度表示して確かめてください。", "Look at it again."),
        )
    right = _right(people, ballot, key, now)
    if _is_own(right, action):
        raise _refuse(
            Text("自分の申請は決定できません。", "Nobody decides on their own request.")
            if any(same_person(name, action.requester) for name in right.people)
            else Text("自分が修正した申請は決定できません。", "Nobody decides on what they edited."),
            Text("別の操作者に頼んでください。", "Ask another operator."),
        )
    said = [(vote["operator"], vote["decision"]) for vote in papers.votes_on(action.revision)]
    if (key.name, ballot.decision) in said:
        raise _refuse(
            Text("あなたの決定は既に記録されています。", "Your decision is recorded already."),
            Text("他の操作者を待ってください。", "Wait for the others."),
        )
    if ballot.click is not None:
        slack.admit(tx, action, ballot.click, ballot.decision, key)
    if ballot.decision == "approve":
        _check_seat(action, right, approvals(tx, action, people, papers))


def _right(people: People, ballot: Ballot, key: Key, now: datetime) -> Right:
    """The right a decision is made with; a conclusion is what somebody saw with their own eyes."""
    if key.name not in people:
        raise _refuse(Text(f"{key.name} には決定の権限がありません。", f"{key.name} may not decide."), NOTHING)
    right = right_of(people, key.name, ballot.acting_for, now)
    if right is None or (ballot.decision == "resolve" and ballot.acting_for is not None):
        lender = shown(ballot.acting_for or "", 60)
        raise _refuse(
            Text(
                f"{key.name} は今、{lender} の代理として決定できません。",
                f"{key.name} may not decide this for {lender} now.",
            ),
            Text("seikyu operator list で委任を確かめてください。", "`seikyu operator list` shows what is lent."),
        )
    return right


def _is_own(right: Right, action: Action) -> bool:
    """Whether anybody behind the right made the action: neither the delegate nor the one they act for may have."""
    return any(is_maker(action, name) for name in right.people)


def _check_seat(action: Action, right: Right, held: Sequence[Right]) -> None:
    amount = action.particulars.amount
    if not right.covers(amount):
        limit = yen_text(right.ceiling or 0)
        money = Text("不明な金額", "an unknown amount") if amount is None else Text(yen_text(amount), yen_text(amount))
        who = right.text
        raise _refuse(
            Text(
                f"{who.ja} が承認できるのは {limit} までで、{money.ja}は承認できません。",
                f"{who.en} may approve up to {limit}, not {money.en}.",
            ),
            Text("上限額が足りる操作者に頼んでください。", "Ask an operator whose ceiling is high enough."),
        )
    same = next((one for one in held if one.people & right.people), None)
    if same is not None:
        raise _refuse(
            Text(
                f"{same.text.ja} の承認が既に記録されています。一人は一票です。",
                f"The approval of {same.text.en} is recorded already: one person, one vote.",
            ),
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
            "acting_for": ballot.acting_for,
            **({} if ballot.click is None else slack.said_in_statement(ballot.click, key)),
        }
    )


def _seal(tx: Tx, action: Action, ballot: Ballot, key: Key, now: datetime, *, resolved_as: str | None = None) -> Row:
    """The vote's row, stored."""
    statement = _statement(action, ballot, key, now, resolved_as)
    vote: dict[str, str | int] = {
        "action_id": action.id,
        "revision": action.revision,
        "operator": key.name,
        "decision": ballot.decision,
        "statement": statement.decode(),
        "seal": key.sign(statement),
        "via": ballot.via if ballot.click is None else VIA_SLACK,
        "voted_at": timestamp(now),
    }
    tx.run("add_vote", **vote)
    said = {"operator": key.name, "decision": ballot.decision, "statement_sha256": sha256(statement)}
    audit.append(tx, now, "sealed", action.id, **said, vote=vote_hash(vote))
    return vote


def approvals(tx: Tx, action: Action, people: People | None = None, papers: Papers | None = None) -> list[Right]:
    """The sealed approvals of exactly this content that hold now, no two of which share a person.

    The seal binds what was read, what was decided and whose right was used. Which roles and ceiling that right has
    is not sealed: others gave it, and what they took back since must not count. `people` are the trusted ones, and
    `papers` the action's, when the caller read them in this transaction.

    Raises:
        StoreDamaged: a vote's seal does not hold, so somebody wrote into the database.
    """
    held: list[Right] = []
    for vote, right in _rights(tx, action, people, papers):
        is_free = not any(one.people & right.people for one in held)
        if vote["decision"] == "approve" and is_free and right.covers(action.particulars.amount):
            held.append(right)
    return held


def conclusions(
    tx: Tx, action: Action, people: People | None = None, papers: Papers | None = None
) -> dict[str, list[str]]:
    """What operators say became of an action, each conclusion with the names of those who sealed it.

    `people`, `papers` and errors as of `approvals`.
    """
    said: dict[str, list[str]] = {}
    for vote, right in _rights(tx, action, people, papers):
        if vote["decision"] == "resolve":
            said.setdefault(_sealed(vote)["resolved_as"], []).append(right.operator)
    return said


_LONGEST_REFERENCE: Final = 200
_NOTHING: Final = "nothing"
"""What is sealed in the place of an id where nothing exists; so it is no id."""


def _conclusion(reference: str | None) -> str:
    return _NOTHING if reference is None else reference


def _check_reference(reference: str | None) -> None:
    """An id that nobody can see, or that says the opposite of what is meant, must not close anything."""
    if reference is None:
        return
    is_seen = bool(reference) and reference == shown(reference.strip(), _LONGEST_REFERENCE)
    if not is_seen or reference.casefold() == _NOTHING:
        raise _refuse(
            Text(
                f"「{shown(reference, 60)}」は提供元の番号ではありません。",
                f'"{shown(reference, 60)}" is no id of a provider.',
            ),
            Text(
                "提供元の画面にある番号を指定してください。何もないなら --outcome failed です。",
                "Give the id on the provider's screen; when nothing is there, say --outcome failed.",
            ),
        )


def _rights(tx: Tx, action: Action, people: People | None, papers: Papers | None) -> list[tuple[Row, Right]]:
    """Every vote whose operator has a right to it now, and is not behind the request. Raises as `approvals`."""
    people, found = trusted(tx) if people is None else people, list[tuple[Row, Right]]()
    papers = papers_of(tx, action.id) if papers is None else papers
    check_edits(tx, action, papers.edits_made)
    for vote in papers.votes_on(action.revision):
        if vote["operator"] in people:
            key = _sealing_key(tx, action, vote, people[vote["operator"]])
            if key is None:
                continue
            _check_seal(action, vote, people[vote["operator"]], key)
            right = right_of(people, vote["operator"], _sealed(vote).get("acting_for"), moment(vote["voted_at"]))
            if right is not None and not _is_own(right, action):
                found.append((vote, right))
    return found


def _sealed(vote: Row) -> dict[str, Any]:
    """What the seal of a vote, checked before, is on."""
    said: dict[str, Any] = json.loads(vote["statement"])
    return said


def _sealing_key(tx: Tx, action: Action, vote: Row, operator: Operator) -> str | None:
    """The public key a vote has to be sealed with; None for a vote in Slack that does not count any more."""
    if vote["via"] != VIA_SLACK:
        return operator.public_key
    there = slack.sealer(tx, action, vote)
    return None if there is None else there.sealed_with


def _check_seal(action: Action, vote: Row, operator: Operator, public_key: str) -> None:
    about = {"action": action.id, "revision": action.revision, "digest": action.digest}
    about |= {"operator": operator.name, "decision": vote["decision"], "voted_at": vote["voted_at"]}
    if not _says(vote["statement"], about) or not _is_sealed(vote, public_key):
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


def _is_sealed(vote: Row, public_key: str) -> bool:
    return is_signed(public_key, str(vote["statement"]).encode(), str(vote["seal"]))


def check_digest(action: Action) -> None:
    """Raises `StoreDamaged` when the stored content is not what its digest says."""
    if sha256(action.canonical.encode()) != action.digest:
        raise StoreDamaged(
            Text(f"{action.id} の内容が書き換えられています。", f"The content of {action.id} was changed."),
            Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."),
            written=NOTHING,
        )


def check_log(tx: Tx, action: Action, papers: Papers) -> None:
    """Raises `StoreDamaged` when the action, its votes or its edits are not what the log says they are."""
    doubt = audit.doubt(tx, action.row, papers)
    if doubt is not None:
        raise StoreDamaged(
            doubt.fault, Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."), written=NOTHING
        )
