"""Facts only the store can know: totals, duplicates, first business. Gathered under the writer's lock."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from seikyu.gate.actions import Action
from seikyu.gate.vocabulary import WEEKDAYS, Facts
from seikyu.models import JST, is_unseen, jst_date
from seikyu.spec import Connection, Particulars, WriteOperation
from seikyu.store.database import Tx

_COMPANY_FORMS: Final = re.compile(
    r"株式会社|有限会社|合同会社|合資会社|合名会社|\(株\)|\(有\)|\(同\)|[\s・.,，．、。]"
)
_CONNECTION_MONTH: Final = "connection_monthly_total"
_DASHES: Final = re.compile(r"[‐‒–—―−]")
"""Written for one another, and for the ASCII one; the sign of a long vowel is a letter."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts a policy judges, and the actions that look like the same business."""

    facts: Facts
    twins: tuple[str, ...]
    """Ids of actions with the same customer and amount and a close date, or the same document."""


def counterparty_key(name: str | None) -> str | None:
    """A customer's name with its spelling variants folded, so that the providers can be compared."""
    if not name:
        return None
    plain = unicodedata.normalize("NFKC", name).casefold()
    folded = _DASHES.sub("-", "".join(char for char in plain if char.isspace() or not is_unseen(char)))
    return _COMPANY_FORMS.sub("", folded) or folded or plain


def gather(
    tx: Tx,
    *,
    action_id: str,
    requester: str,
    connection: Connection,
    operation: WriteOperation[Any],
    particulars: Particulars,
    file_sha256: str | None,
    now: datetime,
    duplicate_days: int,
    with_month: bool = True,
) -> Situation:
    """Read the situation of one action, itself not counted among its twins.

    `with_month` is whether the month of the whole connection is added up, which is worth it only where a rule asks.
    """
    today = jst_date(now)
    twins = _twins(tx, action_id, connection, operation.kind, particulars=particulars, days=duplicate_days)
    files = tx.all("twin_files", file_sha256=file_sha256, except_id=action_id) if file_sha256 else []
    amount = particulars.amount if operation.kind == "bill" else 0
    totals, knows_customer = _totals(
        tx,
        action_id,
        requester,
        connection,
        particulars=particulars,
        today=today,
        own=amount or 0,
        with_month=with_month,
    )
    facts = Facts(
        operation=operation.name,
        provider=connection.provider,
        connection=connection.name,
        environment=connection.environment,
        requester=requester,
        amount=particulars.amount,
        due_days=None if particulars.due_date is None else (particulars.due_date - today).days,
        duplicate=bool(twins or files),
        first_with_customer=particulars.counterparty_id is not None and not knows_customer,
        new_destination=_is_new_destination(tx, action_id, connection, particulars),
        changed_destination=_has_moved(tx, action_id, connection, particulars),
        time=f"{now.astimezone(JST):%H:%M}",
        weekday=WEEKDAYS[today.weekday()],
        **{name: total for name, total in totals.items() if with_month or name != _CONNECTION_MONTH},
    )
    return Situation(facts, (*twins, *(str(row["id"]) for row in files)))


def _totals(
    tx: Tx, action_id: str, requester: str, connection: Connection, *, particulars: Particulars, today: date, own: int,
    with_month: bool,
) -> tuple[dict[str, int], bool]:  # fmt: skip
    """Yen of the day and of the month in Japan, `own` included; what has no known customer stands alone.

    And whether something was ever billed to the customer.
    """
    first_day = f"{today:%Y-%m}-01"
    row = tx.one(
        "totals",
        requester=requester,
        connection=connection.name,
        counterparty_key=counterparty_key(particulars.counterparty_name),
        counterparty_id=particulars.counterparty_id,
        except_id=action_id,
        today=today.isoformat(),
        first_day=first_day,
        connection_from=first_day if with_month else today.isoformat(),
        last_day=f"{today:%Y-%m}-31",
    )
    totals = dict(row or {})
    knows_customer = bool(totals.pop("knows_customer", 0))
    return {name: own + int(total) for name, total in totals.items()}, knows_customer


def gather_again(
    tx: Tx,
    action: Action,
    connection: Connection,
    operation: WriteOperation[Any],
    *,
    now: datetime,
    duplicate_days: int,
    with_month: bool = True,
) -> Situation:
    """The situation of a stored action as it is now."""
    return gather(
        tx,
        action_id=action.id,
        requester=action.requester,
        connection=connection,
        operation=operation,
        particulars=action.particulars,
        file_sha256=action.file_sha256,
        now=now,
        duplicate_days=duplicate_days,
        with_month=with_month,
    )


def _twins(
    tx: Tx, action_id: str, connection: Connection, kind: str, *, particulars: Particulars, days: int
) -> tuple[str, ...]:
    if kind == "cancel" or particulars.amount is None or particulars.transaction_date is None:
        return ()
    first, last = _around(particulars.transaction_date, days)
    rows = tx.all(
        "twins_of",
        kind=kind,
        amount=particulars.amount,
        except_id=action_id,
        date_from=first.isoformat(),
        date_to=last.isoformat(),
        counterparty_key=counterparty_key(particulars.counterparty_name),
        connection=connection.name,
        counterparty_id=particulars.counterparty_id,
    )
    return tuple(str(row["id"]) for row in rows)


def _around(day: date, days: int) -> tuple[date, date]:
    """The first and the last day so close to `day`, where the calendar goes that far."""
    first, last = day.toordinal() - days, day.toordinal() + days
    return date.fromordinal(max(first, date.min.toordinal())), date.fromordinal(min(last, date.max.toordinal()))


def _is_new_destination(tx: Tx, action_id: str, connection: Connection, particulars: Particulars) -> bool:
    if particulars.destination is None:
        return False
    where = {"connection": connection.name, "destination": particulars.destination}
    return tx.one("knows_destination", **where, except_id=action_id) is None


def _has_moved(tx: Tx, action_id: str, connection: Connection, particulars: Particulars) -> bool:
    """Whether the same customer, by id or by name, was last billed elsewhere. Reversed bills went there too."""
    if particulars.destination is None:
        return False
    last = tx.one(
        "last_destination",
        connection=connection.name,
        counterparty_id=particulars.counterparty_id,
        counterparty_key=counterparty_key(particulars.counterparty_name),
        except_id=action_id,
    )
    return last is not None and last["destination"] != particulars.destination
