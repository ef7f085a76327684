"""Mandates: who may decide, and how much. A chain of statements, each sealed by an operator who had the right then.

Enrolment, roles and ceilings, removal and delegation are said here and nowhere else: the operators are what the
chain says, replayed from its first statement. Each statement names its number and the hash of the one before, so an
old one copied back does not fit; the audit log names the last one, so the newest cannot be taken away.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seikyu.errors import StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.canonical import canonical
from seikyu.gate.keys import Key, is_signed
from seikyu.gate.witness import mandate_hash, operator_hash
from seikyu.models import IsoDate, is_unseen, jst_date, moment, timestamp, yen_text
from seikyu.store.database import Row, Tx

Saying: TypeAlias = Literal["enrol", "grant", "remove", "delegate", "undelegate"]

EVENTS: Final[Mapping[Saying, str]] = {
    "enrol": "operator.enrolled",
    "grant": "operator.granted",
    "remove": "operator.removed",
    "delegate": "operator.delegated",
    "undelegate": "operator.undelegated",
}
"""The log row beside each statement."""

TOLD_AGAIN: Final = timedelta(hours=1)
"""Between two alarms about the same."""

GENESIS: Final = "0" * 64
"""The `prev` of the first statement."""

ROLE: Final = r"^[^\W_][\w-]{0,29}$"
"""A role's name: up to 30 letters of any script, digits, dashes, _."""

_NOT_SEALED: Final = Text("署名が正しくありません", "its seal does not hold")
_NOT_NEXT: Final = Text("前の記録に続いていません", "it does not follow the one before")
_LOOK: Final = Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`.")
_NO_RIGHT: Final = Text("その操作者には権限がありません。", "That operator has no right to do so.")


@dataclass(frozen=True, slots=True)
class Delegation:
    """An operator's right, lent to another until the end of a day in Japan."""

    lender: str
    to: str
    until: date
    """The last day it may be used."""
    ceiling: int | None
    """Yen; never above the lender's own, whatever it says."""
    given_at: str

    def covers(self, at: datetime) -> bool:
        """Whether it could be used at `at`."""
        return moment(self.given_at) <= at and jst_date(at) <= self.until


@dataclass(frozen=True, slots=True)
class Operator:
    """An enrolled operator, as the chain says."""

    name: str
    public_key: str
    """Hex of the 32 raw bytes."""
    enrolled_at: str
    endorsed_by: str
    """The operator who vouched for this one; the first vouches for themselves."""
    is_active: bool
    roles: frozenset[str] = frozenset()
    ceiling: int | None = None
    """Yen an approval may be about; None without limit."""
    lent: tuple[Delegation, ...] = ()
    """Every delegation not taken back, oldest first; the last one to a person is the one that can be used."""

    def lent_now(self, today: date) -> list[Delegation]:
        """What others may use on a day or later: the last delegation to each."""
        last = {one.to: one for one in self.lent}
        return [one for one in last.values() if one.until >= today]


def is_within(amount: int | None, ceiling: int | None) -> bool:
    """Whether an amount is within a ceiling; an unknown one is within none."""
    return ceiling is None or (amount is not None and amount <= ceiling)


def lower(one: int | None, other: int | None) -> int | None:
    """The lower of two ceilings."""
    known = [ceiling for ceiling in (one, other) if ceiling is not None]
    return min(known, default=None)


_Role: TypeAlias = Annotated[str, Field(pattern=ROLE)]
_Ceiling: TypeAlias = Annotated[int, Field(ge=0, le=10**15)]


class Statement(BaseModel):
    """What an operator seals about another. Nothing else they seal has a number called `mandate`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    mandate: int
    prev: str
    says: Saying
    operator: str
    """Whom it is about."""
    by: str
    at: str
    public_key: str | None = None
    roles: tuple[_Role, ...] = ()
    ceiling: _Ceiling | None = None
    until: IsoDate | None = None


People: TypeAlias = Mapping[str, Operator]


def same_person(one: str, other: str) -> bool:
    """Whether two names mean one person: width, case, blanks and invisible characters do not make another."""
    return folded(one) == folded(other)


def folded(name: str) -> str:
    """A name as persons are told apart by."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(char for char in plain if not char.isspace() and not is_unseen(char))


def everyone(tx: Tx) -> dict[str, Operator]:
    """Everyone ever enrolled, by name, oldest first.

    Raises:
        StoreDamaged: a statement does not hold, is missing, or the operators' rows say otherwise.
    """
    people: dict[str, Operator] = {}
    removers, rows, prev = dict[str, Statement](), tx.all("mandates_and_head"), GENESIS
    for number, row in enumerate(rows, 1):
        said = _read(row, number, prev)
        people = _believe(people, said, row)
        removers |= {said.operator: said} if said.says == "remove" else {}
        prev = mandate_hash(row)
    _check_head(rows[0]["head"] if rows else _head(tx), len(rows), prev)
    _check_rows(tx, rows, people, removers)
    return people


def trusted(tx: Tx) -> dict[str, Operator]:
    """The operators who may decide now.

    Raises:
        StoreDamaged: as `everyone`.
    """
    return {name: one for name, one in everyone(tx).items() if one.is_active}


def believed(tx: Tx) -> dict[str, Operator] | StoreDamaged:
    """As `trusted`; or what is wrong with the operators' records, for who has something to do about that first."""
    try:
        return trusted(tx)
    except StoreDamaged as error:
        return error


def sound(tx: Tx, now: datetime, doubt: StoreDamaged) -> None:
    """The log row of an alarm, from which people are told; the same one not again within the hour."""
    last = tx.one("last_doubt")
    is_told = last is not None and moment(last["at"]) > now - TOLD_AGAIN
    if last is None or not is_told or json.loads(last["record"])["fault"] != doubt.what.en:
        audit.append(tx, now, "operator.alarm", fault=doubt.what.en)


def say(tx: Tx, now: datetime, says: Saying, operator: str, *, key: Key, **more: Any) -> Row:  # noqa: ANN401 - Statement's fields
    """Add a sealed statement and its log row; the statement's row.

    Raises:
        VoteRefused: the signer may not say this.
        StoreDamaged: what stands in the chain does not hold.
    """
    people, rows = everyone(tx), tx.all("mandates")
    prev = mandate_hash(rows[-1]) if rows else GENESIS
    facts: dict[str, Any] = {"mandate": len(rows) + 1, "prev": prev, "says": says, "operator": operator}
    try:
        said = Statement(**facts, by=key.name, at=timestamp(now), **more)
    except ValidationError:
        raise _not_so(
            Text("役割の名前か上限額が正しくありません。", "A role's name or the ceiling is not one there can be.")
        ) from None
    after(people, said)
    statement = _text(said)
    row: dict[str, int | str] = {"seq": said.mandate, "statement": statement.decode(), "seal": key.sign(statement)}
    tx.run("add_mandate", **row)
    return row


def tell(tx: Tx, now: datetime, row: Row) -> None:
    """The log row of a statement just added, once the operators' rows say the same."""
    said: dict[str, Any] = json.loads(row["statement"])
    shown = {name: said[name] for name in ("roles", "ceiling", "until", "by") if said[name] is not None}
    stored = {one["name"]: one for one in tx.all("every_operator")}[said["operator"]]
    record = {"name": said["operator"], **shown, "mandate": row["seq"], "mandate_sha256": mandate_hash(row)}
    audit.append(tx, now, EVENTS[said["says"]], **record, row=operator_hash(stored))


def _text(said: Statement) -> bytes:
    return canonical(said.model_dump(mode="json"))


def _read(row: Row, number: int, prev: str) -> Statement:
    try:
        said = Statement.model_validate_json(row["statement"])
    except ValidationError as error:
        raise _damaged("?", _NOT_SEALED) from error
    is_canonical = _text(said).decode() == row["statement"]
    if (row["seq"], said.mandate, said.prev, is_canonical) != (number, number, prev, True):
        raise _damaged(said.operator, _NOT_NEXT)
    return said


def _believe(people: dict[str, Operator], said: Statement, row: Row) -> dict[str, Operator]:
    """The people after a statement from the database, if its signer had the right and really signed it."""
    try:
        then = after(people, said)
    except VoteRefused as error:
        raise _damaged(said.operator, error.what) from error
    public_key = (then if said.says == "enrol" and not people else people)[said.by].public_key
    if not is_signed(public_key, row["statement"].encode(), str(row["seal"])):
        raise _damaged(said.operator, _NOT_SEALED)
    return then


def _head(tx: Tx) -> str | None:
    """What the log says of the last statement, where there is none."""
    row = tx.one("mandate_head")
    return None if row is None else str(row["record"])


def _check_head(said: str | None, count: int, head: str) -> None:
    """The log names the last statement, so that the newest cannot be dropped: a lowered ceiling, a removal."""
    record: dict[str, Any] = {} if said is None else json.loads(said)
    if (record.get("mandate", 0), record.get("mandate_sha256", GENESIS)) != (count, head):
        name = str(record.get("name", "?"))
        raise _damaged(name, Text("最後の記録がないか違います", "the last statement about them is missing or another"))


def _check_rows(tx: Tx, chain: Sequence[Row], people: People, removers: Mapping[str, Statement]) -> None:
    rows = {row["name"]: row for row in tx.all("operators")}
    seals = {_subject(row): row["seal"] for row in chain if '"says":"enrol"' in row["statement"]}
    for name in sorted({*rows, *people}):
        row, one, removal = rows.get(name), people.get(name), removers.get(name)
        if row is None or one is None or _enrolled(row) != (one.public_key, one.enrolled_at, one.endorsed_by):
            raise _not_vouched(name)
        if row["endorsement"] != seals[name]:
            raise _not_vouched(name)
        if (row["removed_at"], row["removed_by"]) != ((removal.at, removal.by) if removal else (None, None)):
            raise _damaged(name, Text("削除の記録と一致しません", "the row and the sealed removal do not agree"))


def _subject(row: Row) -> str:
    return str(json.loads(row["statement"])["operator"])


def _enrolled(row: Row) -> tuple[str, str, str]:
    return row["public_key"], row["enrolled_at"], row["endorsed_by"]


def _damaged(name: str, why: Text) -> StoreDamaged:
    return StoreDamaged(
        Text(
            f"操作者 {name} の権限の記録が正しくありません（{why.ja.rstrip('。')}）。",
            f"What is recorded about operator {name} does not hold: {why.en.rstrip('.')}.",
        ),
        _LOOK,
    )


def _not_vouched(name: str) -> StoreDamaged:
    return StoreDamaged(
        Text(
            f"操作者 {name} の登録に正しい保証がありません。",
            f"Operator {name} was enrolled without a valid endorsement.",
        ),
        _LOOK,
    )


# what may be said


def after(people: People, said: Statement) -> dict[str, Operator]:
    """The people once `said` holds. The same rules when it is said and when it is read back.

    Raises:
        VoteRefused: the signer may not say this, or it is about nobody.
    """
    if said.says == "enrol":
        return _enrol(people, said)
    one, by = people.get(said.operator), people.get(said.by)
    if one is None or not one.is_active:
        raise _not_so(Text(f"操作者 {said.operator} は登録されていません。", f"There is no operator {said.operator}."))
    if by is None or not by.is_active:
        raise _not_so(_NO_RIGHT)
    changes = {"grant": _grant, "remove": _remove, "delegate": _delegate, "undelegate": _undelegate}
    return {**people, **{changed.name: changed for changed in changes[said.says](people, one, by, said)}}


def _enrol(people: People, said: Statement) -> dict[str, Operator]:
    if any(same_person(said.operator, name) for name in people):
        raise _not_so(
            Text(f"{said.operator} は既に登録されています。", f"{said.operator} is enrolled already."),
            Text("別の名前を使ってください。", "Choose another name."),
        )
    by = people.get(said.by)
    if people and (by is None or not by.is_active):
        raise _not_so(
            Text(
                "二人目からは、登録済みの操作者の保証が必要です。",
                "From the second operator on, an enrolled operator has to vouch.",
            ),
            Text(
                "seikyu operator add NAME --by OPERATOR を使ってください。",
                "Use `seikyu operator add NAME --by OPERATOR`.",
            ),
        )
    if (not people and said.by != said.operator) or said.public_key is None or said.until is not None:
        raise _not_so(_NO_RIGHT)
    if by is not None:
        _check_gift(by, frozenset(), said)
    new = Operator(
        said.operator, said.public_key, said.at, said.by, is_active=True,
        roles=frozenset(said.roles), ceiling=said.ceiling,
    )  # fmt: skip
    return {**people, new.name: new}


def _grant(_people: People, one: Operator, by: Operator, said: Statement) -> Sequence[Operator]:
    if one.name == by.name:
        raise _not_so(
            Text("自分の役割や上限額は変えられません。", "Nobody changes their own roles or ceiling."),
            Text("別の操作者に頼んでください。", "Ask another operator."),
        )
    _check_gift(by, one.roles, said)
    return [replace(one, roles=frozenset(said.roles), ceiling=said.ceiling)]


def _check_gift(by: Operator, had: frozenset[str], said: Statement) -> None:
    """Nobody hands out more than they hold, or two operators with low ceilings could raise each other."""
    if by.ceiling is None:
        return
    if not is_within(said.ceiling, by.ceiling):
        raise _above(by)
    foreign = sorted(set(said.roles) - had - by.roles)
    if foreign:
        raise _not_so(
            Text(
                f"{by.name} は役割 {foreign[0]} を持たないため、与えられません。",
                f"{by.name} does not hold the role {foreign[0]} and cannot give it.",
            ),
            Text("上限額のない操作者に頼んでください。", "Ask an operator without a ceiling."),
        )


def _above(by: Operator) -> VoteRefused:
    limit = yen_text(by.ceiling or 0)
    return _not_so(
        Text(f"{by.name} の上限額 {limit} を超えています。", f"That is above the ceiling of {by.name}, {limit}."),
        Text(f"{limit} 以下の上限額を指定してください。", f"Name a ceiling of at most {limit}."),
    )


def _remove(people: People, one: Operator, _by: Operator, _said: Statement) -> Sequence[Operator]:
    if sum(other.is_active for other in people.values()) == 1:
        raise _not_so(Text("最後の操作者は削除できません。", "The last operator cannot be removed."))
    return [replace(one, is_active=False, lent=())]


def _delegate(_people: People, one: Operator, by: Operator, said: Statement) -> Sequence[Operator]:
    if said.until is None or said.until < jst_date(moment(said.at)):
        raise _not_so(
            Text("委任の終了日が過去です。", "The last day of a delegation cannot be in the past."),
            Text("今日以降の日付を指定してください。", "Name today or a later day."),
        )
    if one.name == by.name:
        raise _not_so(Text("自分自身には委任できません。", "Nobody delegates to themselves."))
    if not is_within(said.ceiling, by.ceiling):
        raise _above(by)
    lent = Delegation(by.name, one.name, said.until, said.ceiling, said.at)
    return [replace(by, lent=(*by.lent, lent))]


def _undelegate(_people: People, one: Operator, by: Operator, _said: Statement) -> Sequence[Operator]:
    kept = tuple(lent for lent in by.lent if lent.to != one.name)
    if kept == by.lent:
        raise _not_so(
            Text(f"{by.name} は {one.name} に委任していません。", f"{by.name} has lent nothing to {one.name}.")
        )
    return [replace(by, lent=kept)]


def _not_so(what: Text, next_step: Text | None = None) -> VoteRefused:
    return VoteRefused(
        what, next_step or Text("", ""), written=Text("何も変更されていません。", "Nothing was changed.")
    )
