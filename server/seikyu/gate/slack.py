"""Slack: whose click counts as whose vote, and up to what amount.

A link says: this Slack user speaks for this operator, up to so many yen, when this server's key seals it. The operator
seals the link with their own key, so that nobody can collect another's vote, and another operator vouches for it, as
for an enrolment. Links are a chain of statements: each names the one before, and the log names the last, so that none
can be copied back or taken away. Without a link nobody's click counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from seikyu.errors import NOTHING, NotFound, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.actions import Action
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.keys import Key, is_signed
from seikyu.gate.mandates import everyone, trusted
from seikyu.gate.witness import link_hash
from seikyu.models import MAX_YEN, Clock, timestamp, yen_text
from seikyu.store.database import Row, Store, Tx

GENESIS: Final = "0" * 64
REMEMBERED: Final = timedelta(minutes=10)
"""How long a signed request is known by its mark; twice as long as its signature holds."""

_ID: Final = re.compile(r"[A-Z][A-Z0-9]{1,30}", re.ASCII)
_VOTES: Final = frozenset({"approve", "reject", "return"})
_ASK_PAGE: Final = Text("承認画面か端末で決定してください。", "Decide on the approval page or in a terminal.")


@dataclass(frozen=True, slots=True)
class Click:
    """Who clicked on which message, as Slack signed it."""

    app: str
    team: str
    user: str
    channel: str
    ts: str
    """Of the message; with the channel it names one message for ever."""


@dataclass(frozen=True, slots=True)
class Link:
    """A Slack user who speaks for an operator."""

    operator: str
    team: str
    user: str
    up_to: int
    """Yen: an approval of more, or of an unknown amount, does not count."""
    sealed_with: str
    """The server's public key, hex."""
    vouched_by: str

    def covers(self, action: Action) -> bool:
        amount = action.particulars.amount
        return amount is not None and amount <= self.up_to


def remember(store: Store, clock: Clock, mark: str) -> bool:
    """Note that a signed request was here; False when it was here before: a replay."""
    now = clock.now()
    with store.write() as tx:
        tx.run("forget_requests", before=timestamp(now - REMEMBERED))
        return tx.run("remember_request", mark=mark, seen_at=timestamp(now)) == 1


def note_message(store: Store, clock: Clock, *, channel: str, ts: str, action: tuple[str, str]) -> None:
    """Note which message shows which action, by id and digest."""
    with store.write() as tx:
        tx.run(
            "add_slack_message",
            channel=channel,
            ts=ts,
            action_id=action[0],
            digest=action[1],
            posted_at=timestamp(clock.now()),
        )


# who speaks for whom


def links(tx: Tx) -> list[Link]:
    """The links in force: the newest of each operator and of each Slack user, of people who are still operators.

    Raises:
        StoreDamaged: a statement is not in its place in the chain, its seals do not hold, or the last one is gone.
    """
    people, rows = everyone(tx), tx.all("slack_links")
    keys = {one.name: one.public_key for one in people.values()}
    active = {one.name for one in people.values() if one.is_active}
    found: list[Link] = []
    prev = GENESIS
    for seq, row in enumerate(rows, start=1):
        said = _checked(row, keys, seq=seq, prev=prev)
        prev = sha256(str(row["statement"]).encode())
        who = (said["team"], said["user"])
        found = [link for link in found if link.operator != row["operator"] and (link.team, link.user) != who]
        if said["up_to"] is not None:
            found.append(Link(row["operator"], *who, said["up_to"], said["sealed_with"], row["vouched_by"]))
    _check_head(tx, rows)
    return [link for link in found if link.operator in active and link.vouched_by in active]


def link_of(tx: Tx, team: str, user: str) -> Link | None:
    """Whom a Slack user speaks for. Raises as `links`."""
    return next((link for link in links(tx) if (link.team, link.user) == (team, user)), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a new link shall say."""

    team: str
    user: str
    up_to: int
    sealed_with: str


def link(store: Store, clock: Clock, wanted: Wanted, *, key: Key, by: Key) -> None:
    """Let a Slack user speak for the operator whose `key` it is; `by` vouches.

    Raises:
        VoteRefused: not an operator, or nobody else vouches although there is somebody else.
    """
    if not _ID.fullmatch(wanted.team) or not _ID.fullmatch(wanted.user) or not 0 <= wanted.up_to <= MAX_YEN:
        raise VoteRefused(
            Text(
                "Slack のチームは T0123、利用者は U0123、金額は円の整数で指定します。",
                "Name the team like T0123, the user like U0123, and the amount in whole yen.",
            ),
            written=NOTHING,
        )
    with store.write() as tx:
        active = trusted(tx)
        if key.name not in active or by.name not in active:
            raise VoteRefused(Text("操作者ではありません。", "Not an operator."), written=NOTHING)
        if by.name == key.name and len(active) > 1:
            raise VoteRefused(
                Text("別の操作者の保証が必要です。", "Another operator has to vouch."),
                Text("--by OPERATOR を使ってください。", "Use --by OPERATOR."),
                written=NOTHING,
            )
        _append(tx, clock, key.name, asdict(wanted), key=key, by=by)


def unlink(store: Store, clock: Clock, operator: str, *, by: Key) -> None:
    """Let nobody in Slack speak for `operator` any more. Raises `NotFound`, `VoteRefused`."""
    with store.write() as tx:
        if by.name not in trusted(tx):
            raise VoteRefused(Text("操作者ではありません。", "Not an operator."), written=NOTHING)
        there = next((one for one in links(tx) if one.operator == operator), None)
        if there is None:
            raise NotFound(Text(f"{operator} の Slack はありません。", f"{operator} has no Slack user."))
        nobody = {"team": there.team, "user": there.user, "up_to": None, "sealed_with": ""}
        _append(tx, clock, operator, nobody, key=by, by=by)


def _append(tx: Tx, clock: Clock, operator: str, says: Mapping[str, Any], *, key: Key, by: Key) -> None:
    rows, now = tx.all("slack_links"), clock.now()
    prev = sha256(str(rows[-1]["statement"]).encode()) if rows else GENESIS
    seq = len(rows) + 1
    statement = canonical({"slack_link": seq, "prev": prev, "operator": operator, "at": timestamp(now), **says})
    row: dict[str, str | int] = {
        "seq": seq,
        "operator": operator,
        "statement": statement.decode(),
        "seal": key.sign(statement),
        "vouched_by": by.name,
        "vouch": by.sign(statement),
    }
    tx.run("add_slack_link", **row)
    kind = "slack.unlinked" if says["up_to"] is None else "slack.linked"
    said = {"operator": operator, "team": says["team"], "user": says["user"], "up_to": says["up_to"]}
    audit.append(tx, now, kind, **said, vouched_by=by.name, row=link_hash(row))


def _checked(row: Row, keys: Mapping[str, str], *, seq: int, prev: str) -> dict[str, Any]:
    """What a link says. Raises `StoreDamaged`."""
    statement = str(row["statement"])
    try:
        said: dict[str, Any] = json.loads(statement)
        is_placed = (row["seq"], said["slack_link"], said["prev"]) == (seq, seq, prev)
        # the operator takes their own vote to Slack; anybody may bring it back
        signer = row["vouched_by"] if said["up_to"] is None else row["operator"]
        is_theirs = said["operator"] == row["operator"] and is_signed(keys[signer], statement.encode(), row["seal"])
        is_vouched = is_signed(keys[row["vouched_by"]], statement.encode(), row["vouch"])
    except (ValueError, KeyError, TypeError):
        is_placed = is_theirs = is_vouched = False
        said = {}
    if not (is_placed and is_theirs and is_vouched):
        raise _damaged(
            Text(f"Slack との対応 {seq} の署名が正しくありません。", f"The seals of Slack link {seq} do not hold.")
        )
    return said


def _check_head(tx: Tx, rows: Sequence[Row]) -> None:
    """The log names the last link: a removal that is deleted would give the vote back."""
    head = tx.one("slack_head")
    named = None if head is None else json.loads(head["record"]).get("row")
    if named != (link_hash(rows[-1]) if rows else None):
        raise _damaged(Text("Slack との最後の対応がないか違います。", "The last Slack link is missing or another."))


def _damaged(what: Text) -> StoreDamaged:
    return StoreDamaged(
        what, Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."), written=NOTHING
    )


# whose click counts


def admit(tx: Tx, action: Action, click: Click, decision: str, key: Key) -> None:
    """Whether a click is a vote of the operator it is sealed for, on the message of this very action.

    Raises:
        VoteRefused: no link, another message, too large an amount, or a decision Slack cannot take.
    """
    there = link_of(tx, click.team, click.user)
    if there is None or there.operator != key.name or there.sealed_with != public_half(key):
        raise _refuse(Text("この Slack 利用者は操作者ではありません。", "This Slack user speaks for no operator."))
    shown = tx.one("slack_message", channel=click.channel, ts=click.ts)
    if shown is None or (shown["action_id"], shown["digest"]) != (action.id, action.digest):
        raise _refuse(Text("このメッセージは古い内容です。", "This message does not show what the action says now."))
    if decision not in _VOTES:
        raise _refuse(Text("Slack ではこの決定はできません。", "Slack cannot take this decision."))
    if decision == "approve" and not there.covers(action):
        limit = yen_text(there.up_to)
        raise _refuse(
            Text(
                f"Slack で承認できるのは{limit}までです。金額が分からない申請は承認できません。",
                f"In Slack you may approve up to {limit}, and nothing of unknown amount.",
            )
        )


def sealer(tx: Tx, action: Action, vote: Row) -> Link | None:
    """The link under which a Slack vote counts now; None when it does not.

    The statement is read before its seal is checked, which is safe: at worst the vote is not counted.
    """
    try:
        said: dict[str, Any] = json.loads(vote["statement"])
        click, sealed_with = Click(**said["slack"]), said["sealed_with"]
    except (ValueError, KeyError, TypeError):
        return None
    there = link_of(tx, click.team, click.user)
    if there is None or there.operator != vote["operator"] or there.sealed_with != sealed_with:
        return None
    return there if vote["decision"] != "approve" or there.covers(action) else None


def said_in_statement(click: Click, key: Key) -> dict[str, Any]:
    """What the statement of a Slack vote says besides the vote."""
    return {"slack": asdict(click), "sealed_with": public_half(key)}


def public_half(key: Key) -> str:
    """Hex."""
    return key.private.public_key().public_bytes_raw().hex()


def _refuse(what: Text) -> VoteRefused:
    return VoteRefused(what, _ASK_PAGE, written=Text("決定は記録されていません。", "No decision was recorded."))
