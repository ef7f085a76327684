"""Operators: the humans who may decide. Here they are enrolled, given their mandate, removed, and unlock their keys."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any, Final

from seikyu.errors import StoreDamaged, Text, VoteRefused
from seikyu.gate import audit, mandates
from seikyu.gate.keys import ARGON2, Cost, unwrap, wrap
from seikyu.gate.keys import Key as Key  # noqa: PLC0414 - a word of this room too
from seikyu.gate.keys import is_signed as is_signed  # noqa: PLC0414
from seikyu.gate.mandates import Operator as Operator  # noqa: PLC0414
from seikyu.gate.mandates import everyone
from seikyu.gate.mandates import same_person as same_person  # noqa: PLC0414
from seikyu.gate.mandates import trusted as trusted  # noqa: PLC0414
from seikyu.models import Clock, is_unseen, moment, timestamp
from seikyu.store.database import Row, Store, Tx

MIN_PASSPHRASE: Final = 12
"""Characters. A stolen database can be guessed at offline, at the cost of Argon2id a guess."""

FREE_FAILURES: Final = 3
"""Wrong passphrases before each further try has to wait."""

MAX_WAIT_S: Final = 900
_NAME: Final = re.compile(r"[^\W_][\w.\-]{0,39}")
_NO_VOTE: Final = Text("決定は記録されていません。", "No decision was recorded.")

_DAMAGED = Text("操作者の鍵の記録が壊れています。", "The record of the operator's key is damaged.")


def list_operators(tx: Tx) -> list[Operator]:
    """Everyone ever enrolled, oldest first.

    Raises:
        StoreDamaged: what the operators sealed about each other does not hold.
    """
    return list(everyone(tx).values())


def enrol(
    store: Store,
    clock: Clock,
    name: str,
    passphrase: str,
    *,
    endorser: Key | None,
    roles: Collection[str] = (),
    ceiling: int | None = None,
    cost: Cost = ARGON2,
) -> Operator:
    """Add an operator. The first vouches for themselves; every later one needs an operator's unlocked key.

    `cost` is what each guess at the passphrase costs whoever steals the database.

    Raises:
        VoteRefused: weak passphrase, name taken, nobody vouches, or more than the endorser could hand out.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _check_new(name, passphrase)
    private = Ed25519PrivateKey.generate()
    public_key = private.public_key().public_bytes_raw().hex()
    wrapped = wrap(private, passphrase, name, cost)
    now, signer = clock.now(), endorser or Key(name, private)
    with store.write() as tx:
        row = mandates.say(
            tx, now, "enrol", name, key=signer, public_key=public_key, roles=_in_order(roles), ceiling=ceiling
        )
        tx.run(
            "add_operator",
            name=name,
            public_key=public_key,
            wrapped_key=wrapped,
            enrolled_at=timestamp(now),
            endorsed_by=signer.name,
            endorsement=row["seal"],
        )
        mandates.tell(tx, now, row)
        return everyone(tx)[name]


def _in_order(roles: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(set(roles)))


def _check_new(name: str, passphrase: str) -> None:
    if not _NAME.fullmatch(name) or any(is_unseen(char) for char in name):
        raise VoteRefused(
            Text(
                "操作者名は文字・数字・.-_ で40字までです。",
                "An operator's name is up to 40 letters, digits, dots, dashes or _.",
            )
        )
    if len(passphrase) < MIN_PASSPHRASE:
        raise VoteRefused(
            Text(
                f"合言葉は{MIN_PASSPHRASE}文字以上にしてください。",
                f"A passphrase has at least {MIN_PASSPHRASE} characters.",
            )
        )


def grant(store: Store, clock: Clock, name: str, *, roles: Collection[str], ceiling: int | None, by: Key) -> Operator:
    """Give an operator these roles and this ceiling, in the place of those they have.

    Raises:
        VoteRefused: one's own, somebody who is not enrolled, or more than `by` could hand out.
    """
    return _say(store, clock, "grant", name, by=by, roles=_in_order(roles), ceiling=ceiling)


def lend(store: Store, clock: Clock, to: str, *, until: date, ceiling: int | None, by: Key) -> Operator:
    """Let `to` decide for `by` until the end of a day in Japan; without a ceiling, up to one's own.

    Raises:
        VoteRefused: a day that is over, oneself, nobody, or a ceiling above one's own.
    """
    with store.read() as tx:
        lender = trusted(tx).get(by.name)
    own = None if lender is None else lender.ceiling
    return _say(store, clock, "delegate", to, by=by, until=until, ceiling=own if ceiling is None else ceiling)


def take_back(store: Store, clock: Clock, to: str, *, by: Key) -> Operator:
    """End what was lent to `to`; votes cast with it stop counting.

    Raises:
        VoteRefused: nothing was lent to them.
    """
    return _say(store, clock, "undelegate", to, by=by)


def remove(store: Store, clock: Clock, name: str, *, by: Key) -> None:
    """Take an operator's right away; their past votes on open actions stop counting.

    Raises:
        VoteRefused: no such active operator; or the last operator, who would lock everybody out.
    """
    now = clock.now()
    with store.write() as tx:
        row = mandates.say(tx, now, "remove", name, key=by)
        tx.run("remove_operator", name=name, removed_at=timestamp(now), removed_by=by.name)
        mandates.tell(tx, now, row)


def _say(store: Store, clock: Clock, says: mandates.Saying, name: str, *, by: Key, **more: Any) -> Operator:  # noqa: ANN401 - the statement's fields
    now = clock.now()
    with store.write() as tx:
        mandates.tell(tx, now, mandates.say(tx, now, says, name, key=by, **more))
        return everyone(tx)[name]


def unlock(store: Store, clock: Clock, name: str, passphrase: str) -> Key:
    """The operator's key, for one decision.

    Raises:
        VoteRefused: unknown name, wrong passphrase, or too many wrong ones (the answer names the wait).
    """
    now = clock.now()
    with store.write() as tx:
        row = tx.one("operator", name=name)
        wait = None if row is None or row["locked_until"] is None else moment(row["locked_until"]) - now
        if row is not None and (wait is None or wait <= timedelta()):
            # counted before it is tried: many guesses at once all pay, and a crash forgives none
            _count_failure(tx, now, row)
    if row is None or row["removed_at"] is not None:
        raise _refused()
    if wait is not None and wait > timedelta():
        seconds = int(wait.total_seconds()) + 1
        raise VoteRefused(
            Text(
                f"合言葉の誤りが続いたため、あと{seconds}秒待ってください。",
                f"Too many wrong passphrases: wait {seconds} s.",
            ),
            written=_NO_VOTE,
        )
    private = unwrap(row["wrapped_key"], passphrase, name)
    if private is None:
        with store.write() as tx:
            audit.append(tx, clock.now(), "operator.passphrase_refused", name=name)
        raise _refused()
    if private.public_key().public_bytes_raw().hex() != row["public_key"]:
        raise StoreDamaged(_DAMAGED)
    with store.write() as tx:
        tx.run("clear_failures", name=name)
    return Key(name, private)


def _count_failure(tx: Tx, now: datetime, row: Row) -> None:
    failures = row["failures"] + 1
    over = failures - FREE_FAILURES
    until = None if over <= 0 else timestamp(now + timedelta(seconds=min(MAX_WAIT_S, 2**over)))
    tx.run("count_failure", name=row["name"], failures=failures, locked_until=until)


def _refused() -> VoteRefused:
    return VoteRefused(
        Text("操作者名か合言葉が違います。", "The operator's name or passphrase is wrong."),
        Text("もう一度入力してください。", "Enter it again."),
        written=_NO_VOTE,
    )
