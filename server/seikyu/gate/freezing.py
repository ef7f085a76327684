"""The kill switch: while it is on, no byte of any write leaves. Anyone may turn it on, only an operator's seal off.

The table is a log: the last row says how it stands, and a row that lifts a freeze counts only while its seal holds.
Somebody who owns the database can still drop the whole log; the audit keeps every freeze.

A row of the kind `restored` is a hold: the machine wrote it, for the database is older than what was sent from here.
It stands, whatever comes after it, until a lifting names it under a seal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from seikyu.errors import NOTHING, NotAllowed, NotFound, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.operators import Key, is_signed, list_operators, trusted
from seikyu.models import Clock, shown, timestamp
from seikyu.store.database import Row, Store, Tx

MAX_REASON: Final = 500
"""Characters."""

RESTORED: Final = "restored"

_MACHINE: Final = "seikyu"
"""Whose name stands on a hold."""

_HELD: Final = Text(
    "データベースがここからの送信より古い（復元された）ため、読み取り専用です。何も送信・申請されません。"
    "seikyu reconcile で照合し、その後 seikyu unfreeze で解除してください。",
    "Read-only: the database is older than what was sent from here, as after a restored backup. Nothing is sent or"
    " proposed. Run `seikyu reconcile`, then `seikyu unfreeze`.",
)

_UNSEALED: Final = "解除の署名が正しくありません / the seal on the lifting does not hold"


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze in force."""

    seq: int
    at: str
    os_user: str
    """Who ran the command, as the operating system knows them; nobody proved it with a passphrase."""
    operator: str | None
    """Who they said they are."""
    reason: str
    kind: str = "frozen"
    facts: str | None = None
    """Of a hold, what the machine saw; of a lifting, the holds it names. Canonical JSON."""

    @property
    def text(self) -> Text:
        """One line for every surface."""
        if self.kind == RESTORED:
            return _HELD
        who = shown(self.operator or self.os_user, 60)
        why = shown(self.reason, MAX_REASON)
        return Text(f"緊急停止中です。何も送信されません（{who}: {why}）。", f"Frozen: nothing is sent ({who}: {why}).")


def standing(tx: Tx) -> Freeze | None:
    """The freeze in force, if any. A lifting whose seal does not hold freezes by itself."""
    head = tx.one("freeze_head")
    if head is None:
        return None
    if head["kind"] != "lifted":
        return _freeze(head)
    if not _is_sealed(tx, head):
        return replace(_freeze(head), kind="frozen", reason=_UNSEALED)
    return next((replace(hold, seq=head["seq"]) for hold in holds(tx)), None)


def holds(tx: Tx) -> list[Freeze]:
    """The holds no operator has released."""
    rows = tx.all("freezes_restored")
    released = {seq for lifting in _liftings(tx, rows) for seq, _ in _named(lifting)}
    return [_freeze(row) for row in rows if row["seq"] not in released]


@dataclass(frozen=True, slots=True)
class Release:
    """A hold that an operator released, and the facts they released it with."""

    facts: Mapping[str, Any]
    operator: str
    at: str


def releases(tx: Tx) -> list[Release]:
    """Every hold that was released under a seal that holds."""
    rows = tx.all("freezes_restored")
    known = {(row["seq"], sha256((row["facts"] or "").encode())): row["facts"] for row in rows}
    return [
        Release(json.loads(known[named]), lifting.operator or "", lifting.at)
        for lifting in _liftings(tx, rows)
        for named in _named(lifting)
        if named in known
    ]


def _liftings(tx: Tx, held: list[Row]) -> list[Freeze]:
    """The liftings that name holds, each under a seal that holds."""
    if not held:  # the ordinary case costs one look
        return []
    return [_freeze(row) for row in tx.all("freezes_lifted") if row["facts"] is not None and _is_sealed(tx, row)]


def _named(lifting: Freeze) -> list[tuple[int, str]]:
    return [(seq, digest) for seq, digest in json.loads(lifting.facts or "[]")]


def hold(tx: Tx, clock: Clock, facts: Mapping[str, Any]) -> Freeze:
    """Stop everything until the past is known again; the machine does this by itself."""
    now = clock.now()
    said = canonical(facts).decode()
    made = Freeze(_next_seq(tx), timestamp(now), _MACHINE, None, _HELD.en, RESTORED, said)
    _add(tx, made, RESTORED)
    audit.append(tx, now, RESTORED, seq=made.seq, facts=dict(facts))
    return made


def current(store: Store) -> Freeze | None:
    """As `standing`, in a transaction of its own."""
    with store.read() as tx:
        return standing(tx)


def freeze(store: Store, clock: Clock, *, os_user: str, operator: str | None, reason: str) -> Freeze:
    """Stop everything that has not been sent yet. Needs no right: stopping is always safe.

    Raises:
        NotAllowed: no reason, or one that is too long.
    """
    _check_reason(reason, is_needed=True)
    now = clock.now()
    with store.write() as tx:
        done = Freeze(_next_seq(tx), timestamp(now), os_user, operator, reason)
        _add(tx, done, "frozen")
        audit.append(tx, now, "frozen", seq=done.seq, os_user=os_user, operator=operator, reason=reason)
    return done


def lift(
    store: Store,
    clock: Clock,
    seen: Freeze,
    *,
    key: Key,
    os_user: str,
    reason: str,
    are_all_told: bool = False,
) -> None:
    """Lift the freeze the operator has seen, and with it those before it.

    `are_all_told` is their word, for the log, that no other machine knows of a send that a hold is about.

    Raises:
        NotFound: it is not in force any more.
        VoteRefused: no right, or somebody froze again meanwhile.
        NotAllowed: a reason that is too long, or a restored database whose past is not settled yet.
    """
    _check_reason(reason, is_needed=False)
    now = clock.now()
    with store.write() as tx:
        _check_right(tx, seen, key)
        held = holds(tx)
        if held:
            _check_reason(reason, is_needed=True)
            _check_settled(tx)
        row = Freeze(seen.seq + 1, timestamp(now), os_user, key.name, reason, "lifted", _naming(held))
        statement = _statement(row)
        _add(tx, row, "lifted", seal=key.sign(statement))
        said: dict[str, Any] = {"by": key.name, "os_user": os_user, "reason": reason}
        said |= {"statement_sha256": sha256(statement)}
        said |= {"restored": [one.seq for one in held], "all_told": are_all_told} if held else {}
        audit.append(tx, now, "unfrozen", seq=row.seq, lifts=seen.seq, **said)


def _naming(held: list[Freeze]) -> str | None:
    named = [[one.seq, sha256((one.facts or "").encode())] for one in held]
    return canonical(named).decode() if named else None


def _check_settled(tx: Tx) -> None:
    [left] = tx.all("count_taken_up_open")
    if left["total"]:
        raise NotAllowed(
            Text(
                f"結果の確かめが済んでいない申請が{left['total']}件あります。",
                f"What became of {left['total']} action(s) taken up again is not known yet.",
            ),
            Text(
                "seikyu reconcile を続け、残りは seikyu resolve で確かめた結果を記録してください。",
                "Go on with `seikyu reconcile`; for what stays in manual_review, use `seikyu resolve`.",
            ),
            written=NOTHING,
        )


def _check_reason(reason: str, *, is_needed: bool) -> None:
    if len(reason) > MAX_REASON or (is_needed and not reason.strip()):
        raise NotAllowed(
            Text(f"理由を{MAX_REASON}字以内で書いてください。", f"Give a reason of at most {MAX_REASON} characters."),
            written=NOTHING,
        )


def _check_right(tx: Tx, seen: Freeze, key: Key) -> None:
    there = standing(tx)
    if there is None:
        raise not_frozen()
    if key.name not in trusted(tx):
        raise VoteRefused(
            Text(f"{key.name} には決定の権限がありません。", f"{key.name} may not decide."), written=NOTHING
        )
    if there.seq != seen.seq:
        raise VoteRefused(
            there.text,
            Text("新しい緊急停止の理由を確かめてください。", "It was frozen again: read why first."),
            written=NOTHING,
        )


def not_frozen() -> NotFound:
    """What lifting says when there is nothing to lift."""
    return NotFound(Text("緊急停止していません。", "Nothing is frozen."), written=NOTHING)


def _next_seq(tx: Tx) -> int:
    head = tx.one("freeze_head")
    return 1 if head is None else int(head["seq"]) + 1


def _add(tx: Tx, row: Freeze, kind: str, *, seal: str | None = None) -> None:
    tx.run(
        "add_freeze",
        seq=row.seq,
        kind=kind,
        at=row.at,
        os_user=row.os_user,
        operator=row.operator,
        reason=row.reason,
        seal=seal,
        facts=row.facts,
    )


def _freeze(row: Row) -> Freeze:
    return Freeze(row["seq"], row["at"], row["os_user"], row["operator"], row["reason"], row["kind"], row["facts"])


def _statement(row: Freeze) -> bytes:
    """What an operator signs to lift the freeze just before `row`; nothing else they sign begins like this."""
    said = {"operator": row.operator, "os_user": row.os_user, "reason": row.reason, "at": row.at}
    named = {} if row.facts is None else {"releases": json.loads(row.facts)}
    return canonical({"unfreeze": row.seq - 1, **said, **named})


def _is_sealed(tx: Tx, head: Row) -> bool:
    """Whether a lifting is the word of an operator about the freeze just before it.

    An operator who was removed later had the right at the time.
    """
    try:
        trusted(tx)
    except StoreDamaged:  # while the operators' records are in doubt, so is every lifting
        return False
    signer = next((one for one in list_operators(tx) if one.name == head["operator"]), None)
    if signer is None or head["seal"] is None:
        return False
    try:
        statement = _statement(_freeze(head))
    except ValueError:  # facts no lifting has
        return False
    return is_signed(signer.public_key, statement, head["seal"])
