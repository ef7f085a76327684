"""Operators: the humans who may decide. Each holds an Ed25519 key, wrapped by a passphrase only they know."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from seikyu.errors import NotFound, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.canonical import canonical
from seikyu.models import Clock, moment, timestamp
from seikyu.store.database import Row, Store, Tx

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MIN_PASSPHRASE: Final = 12
"""Characters. A stolen database can be guessed at offline, at the cost of Argon2id a guess."""

ARGON2: Final = {"iterations": 4, "lanes": 1, "memory_cost": 64 * 1024}
"""64 MiB as in RFC 9106, 4, with one lane and one pass more: two derivations with several lanes at the same time
never return (seen with cryptography 50.0.2 on OpenSSL 4.0.3)."""

FREE_FAILURES: Final = 3
"""Wrong passphrases before each further try has to wait."""

MAX_WAIT_S: Final = 900
_NAME: Final = re.compile(r"[^\W_][\w.\-]{0,39}")
_NO_VOTE: Final = Text("決定は記録されていません。", "No decision was recorded.")

_DAMAGED = Text("操作者の鍵の記録が壊れています。", "The record of the operator's key is damaged.")


@dataclass(frozen=True, slots=True)
class Operator:
    """An enrolled operator, without the wrapped key."""

    name: str
    public_key: str
    """Hex of the 32 raw bytes."""
    enrolled_at: str
    endorsed_by: str
    """The operator who vouched for this one; the first vouches for themselves."""
    is_active: bool


@dataclass(frozen=True, slots=True)
class Key:
    """An unlocked key. Lives as long as one decision."""

    name: str
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> str:
        """Hex of the 64-byte signature."""
        return self.private.sign(message).hex()


def _derive(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    hasher = Argon2id(
        salt=salt,
        length=32,
        iterations=cost["iterations"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_cost"],
    )
    # typed on another keyboard or system, the same Japanese passphrase may come in other code points
    return hasher.derive(unicodedata.normalize("NFKC", passphrase).encode())


def _wrap(private: Ed25519PrivateKey, passphrase: str, name: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(16), os.urandom(12)
    key = _derive(passphrase, salt, ARGON2)
    sealed = AESGCM(key).encrypt(nonce, private.private_bytes_raw(), name.encode())
    return canonical({"cost": ARGON2, "salt": salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}).decode()


def _unwrap(wrapped: str, passphrase: str, name: str) -> Ed25519PrivateKey | None:
    """None when the passphrase is wrong (or the record was changed: nobody can tell the two apart)."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    record: dict[str, Any] = json.loads(wrapped)
    key = _derive(passphrase, bytes.fromhex(record["salt"]), record["cost"])
    try:
        raw = AESGCM(key).decrypt(bytes.fromhex(record["nonce"]), bytes.fromhex(record["sealed"]), name.encode())
    except InvalidTag:
        return None
    return Ed25519PrivateKey.from_private_bytes(raw)


def is_signed(public_key: str, message: bytes, signature: str) -> bool:
    """Whether `signature` (hex) is the key's over `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _endorsement(name: str, public_key: str, endorsed_by: str) -> bytes:
    return canonical({"enrol": name, "public_key": public_key, "endorsed_by": endorsed_by})


def _operator(row: Row) -> Operator:
    return Operator(row["name"], row["public_key"], row["enrolled_at"], row["endorsed_by"], row["removed_at"] is None)


def list_operators(tx: Tx) -> list[Operator]:
    """Everyone ever enrolled, oldest first."""
    return [_operator(row) for row in tx.all("operators")]


def trusted(tx: Tx) -> dict[str, Operator]:
    """Active operators whose chain of endorsements leads to the first one and holds.

    Raises:
        StoreDamaged: somebody wrote an operator into the database without an endorsement.
    """
    rows = {row["name"]: row for row in tx.all("operators")}
    firsts = [name for name, row in rows.items() if row["endorsed_by"] == name]
    believed: set[str] = set()
    waiting = dict(rows) if len(firsts) <= 1 else {}
    while waiting:
        sound = [name for name, row in waiting.items() if _is_vouched(row, rows, believed)]
        if not sound:
            break
        believed.update(sound)
        waiting = {name: row for name, row in waiting.items() if name not in believed}
    doubted = sorted(set(rows) - believed)
    if doubted:
        raise StoreDamaged(
            Text(
                f"操作者 {doubted[0]} の登録に正しい保証がありません。",
                f"Operator {doubted[0]} was enrolled without a valid endorsement.",
            ),
            Text("seikyu operator list で確認してください。", "Check `seikyu operator list`."),
        )
    return {name: operator for name, row in rows.items() if (operator := _operator(row)).is_active}


def _is_vouched(row: Row, rows: Mapping[str, Row], believed: set[str]) -> bool:
    """Whether the row's endorsement is its endorser's, who is believed already or is the first of all."""
    endorser = rows.get(row["endorsed_by"])
    if endorser is None or (endorser["name"] not in believed and endorser["name"] != row["name"]):
        return False
    message = _endorsement(row["name"], row["public_key"], row["endorsed_by"])
    return is_signed(endorser["public_key"], message, str(row["endorsement"]))


def same_person(one: str, other: str) -> bool:
    """Whether two names mean one person: width, case, blanks and invisible characters do not make another."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(char for char in plain if not char.isspace() and unicodedata.category(char) not in {"Cc", "Cf"})


def enrol(store: Store, clock: Clock, name: str, passphrase: str, *, endorser: Key | None) -> Operator:
    """Add an operator. The first vouches for themselves; every later one needs an operator's unlocked key.

    Raises:
        VoteRefused: weak passphrase, name taken, or nobody vouches.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not _NAME.fullmatch(name):
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
    private = Ed25519PrivateKey.generate()
    public_key = private.public_key().public_bytes_raw().hex()
    wrapped = _wrap(private, passphrase, name)
    now = clock.now()
    with store.write() as tx:
        signer = _voucher(tx, name, endorser) or Key(name, private)
        tx.run(
            "add_operator",
            name=name,
            public_key=public_key,
            wrapped_key=wrapped,
            enrolled_at=timestamp(now),
            endorsed_by=signer.name,
            endorsement=signer.sign(_endorsement(name, public_key, signer.name)),
        )
        audit.append(tx, now, "operator.enrolled", name=name, public_key=public_key, endorsed_by=signer.name)
    return Operator(name, public_key, timestamp(now), signer.name, is_active=True)


def _voucher(tx: Tx, name: str, endorser: Key | None) -> Key | None:
    if any(same_person(name, one.name) for one in list_operators(tx)):
        raise VoteRefused(
            Text(f"{name} は既に登録されています。", f"{name} is enrolled already."),
            Text("別の名前を使ってください。", "Choose another name."),
        )
    if not list_operators(tx):
        return None
    if endorser is None or endorser.name not in trusted(tx):
        raise VoteRefused(
            Text(
                "二人目からは、登録済みの操作者の保証が必要です。",
                "From the second operator on, an enrolled operator has to vouch.",
            ),
            Text(
                "seikyu operator add NAME --by OPERATOR を使ってください。",
                "Use `seikyu operator add NAME --by OPERATOR`.",
            ),
        )
    return endorser


def remove(store: Store, clock: Clock, name: str, *, by: Key) -> None:
    """Take an operator's right away; their past votes on open actions stop counting.

    Raises:
        NotFound: no such active operator.
        VoteRefused: the last operator, who would lock everybody out.
    """
    now = clock.now()
    with store.write() as tx:
        active = trusted(tx)
        if name not in active:
            raise NotFound(Text(f"操作者 {name} は登録されていません。", f"There is no operator {name}."))
        if by.name not in active or len(active) == 1:
            raise VoteRefused(Text("最後の操作者は削除できません。", "The last operator cannot be removed."))
        tx.run("remove_operator", name=name, removed_at=timestamp(now), removed_by=by.name)
        audit.append(tx, now, "operator.removed", name=name, removed_by=by.name)


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
    private = _unwrap(row["wrapped_key"], passphrase, name)
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
