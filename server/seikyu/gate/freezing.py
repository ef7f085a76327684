"""The kill switch: while it is on, no byte of any write leaves. Anyone may turn it on, only an operator's seal off.

The table is a log: the last row says how it stands, and a row that lifts a freeze counts only while its seal holds.
Somebody who owns the database can still drop the whole log; the audit keeps every freeze.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from seikyu.errors import NOTHING, NotAllowed, NotFound, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.operators import Key, is_signed, list_operators, trusted
from seikyu.models import Clock, shown, timestamp
from seikyu.store.database import Row, Store, Tx

MAX_REASON: Final = 500
"""Characters."""

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

    @property
    def text(self) -> Text:
        """One line for every surface."""
        who = shown(self.operator or self.os_user, 60)
        why = shown(self.reason, MAX_REASON)
        return Text(f"凍結中です。何も送信されません（{who}: {why}）。", f"Frozen: nothing is sent ({who}: {why}).")


def standing(tx: Tx) -> Freeze | None:
    """The freeze in force, if any. A lifting whose seal does not hold freezes by itself."""
    head = tx.one("freeze_head")
    if head is None:
        return None
    if head["kind"] != "lifted":
        return _freeze(head)
    return None if _is_sealed(tx, head) else replace(_freeze(head), reason=_UNSEALED)


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


def lift(store: Store, clock: Clock, seen: Freeze, *, key: Key, os_user: str, reason: str = "") -> None:
    """Lift the freeze the operator has seen, and with it those before it.

    Raises:
        NotFound: it is not in force any more.
        VoteRefused: no right, or somebody froze again meanwhile.
        NotAllowed: a reason that is too long.
    """
    _check_reason(reason, is_needed=False)
    now = clock.now()
    with store.write() as tx:
        _check_right(tx, seen, key)
        row = Freeze(seen.seq + 1, timestamp(now), os_user, key.name, reason)
        statement = _statement(row)
        _add(tx, row, "lifted", seal=key.sign(statement))
        said = {"by": key.name, "os_user": os_user, "reason": reason, "statement_sha256": sha256(statement)}
        audit.append(tx, now, "unfrozen", seq=row.seq, lifts=seen.seq, **said)


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
            Text("新しい凍結の理由を確かめてください。", "It was frozen again: read why first."),
            written=NOTHING,
        )


def not_frozen() -> NotFound:
    """What lifting says when there is nothing to lift."""
    return NotFound(Text("凍結されていません。", "Nothing is frozen."), written=NOTHING)


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
    )


def _freeze(row: Row) -> Freeze:
    return Freeze(row["seq"], row["at"], row["os_user"], row["operator"], row["reason"])


def _statement(row: Freeze) -> bytes:
    """What an operator signs to lift the freeze just before `row`; nothing else they sign begins like this."""
    said = {"operator": row.operator, "os_user": row.os_user, "reason": row.reason, "at": row.at}
    return canonical({"unfreeze": row.seq - 1, **said})


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
    return is_signed(signer.public_key, _statement(_freeze(head)), head["seal"])
