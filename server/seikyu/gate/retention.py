"""Retention: how long records and documents are kept, and from which day a document could be let go.

Seikyu deletes no action, vote, log row or document. This says what its owner may rest on, and what they must not
delete themselves.

How the years are counted: books are kept 10 years from their closing (会社法432条2項), records of electronic
transactions 7 years, 10 for a year with a loss, from the day after the tax return was due (電帳法). The
business year is not known here: one that holds a business day ends in the calendar year after it at the latest, and its
return is due, extensions included, before the end of the year after that. So the years are counted from that end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, date
from typing import Any, Final

from seikyu.errors import Text
from seikyu.models import jst_date, moment, shown
from seikyu.settings import LEAST_YEARS
from seikyu.store.database import Store, Tx

_CLOSED_AFTER: Final = 2
"""Calendar years after that of a business day, at whose end its business year is closed and its tax return due."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What the operator set."""

    years: int = LEAST_YEARS
    legal_hold: str | None = None
    """Why nothing at all may be deleted, such as a dispute or a tax audit; the operator's words."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is kept, since when, and until when at least."""

    retention: Retention
    records: int
    """Rows of the audit log."""
    oldest_record: date | None
    """In Japan; None while there is none."""
    oldest_business_day: date | None
    documents: int
    """Different ones that actions name."""
    documents_free_from: date | None
    """The first day on which any document's time is over."""
    documents_past: int
    """Whose time is over now; none under a legal hold."""

    @property
    def text(self) -> Text:
        """A few sentences for a person."""
        return _kept(self) + _let_go(self) + _held(self.retention)

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "years": self.retention.years,
            "legal_hold": self.retention.legal_hold,
            "counted_from": "end of the second calendar year after the business day's",
            "records": self.records,
            "oldest_record": _iso(self.oldest_record),
            "oldest_business_day": _iso(self.oldest_business_day),
            "documents": self.documents,
            "documents_free_from": _iso(self.documents_free_from),
            "documents_past": self.documents_past,
            "deleted_by_seikyu": "nothing",
        }


def free_from(business_day: date, years: int) -> date:
    """The first day on which what belongs to `business_day` need not be kept any more."""
    return date(min(business_day.year + _CLOSED_AFTER + years + 1, MAXYEAR), 1, 1)


def state(store: Store, retention: Retention, today: date) -> Statement:
    """What there is. `today` is the day in Japan."""
    with store.read() as tx:
        return state_in(tx, retention, today)


def state_in(tx: Tx, retention: Retention, today: date) -> Statement:
    """As `state`, in the caller's transaction."""
    [log], [actions] = tx.all("oldest_record"), tx.all("oldest_action")
    # a document that several actions name is kept for the last of them
    days = [date.fromisoformat(row["business_day"]) for row in tx.all("document_days")]
    free = [free_from(day, retention.years) for day in days]
    is_held = retention.legal_hold is not None
    return Statement(
        retention=retention,
        records=log["total"],
        oldest_record=None if log["at"] is None else jst_date(moment(log["at"])),
        oldest_business_day=None if actions["day"] is None else date.fromisoformat(actions["day"]),
        documents=len(days),
        documents_free_from=min(free, default=None),
        documents_past=0 if is_held else sum(day <= today for day in free),
    )


def _kept(said: Statement) -> Text:
    since = "—" if said.oldest_record is None else said.oldest_record.isoformat()
    return Text(
        f"監査記録 {said.records}件（最古 {since}）と書類 {said.documents}件を"
        f"{said.retention.years}年以上保存します。Seikyu が消すものはありません。",
        f"{said.records} records (the oldest of {since}) and {said.documents} documents are kept for at least"
        f" {said.retention.years} years. Seikyu deletes none.",
    )


def _let_go(said: Statement) -> Text:
    if said.documents_free_from is None:
        return Text("", "")
    day = said.documents_free_from.isoformat()
    return Text(
        f"保存期間を過ぎた書類は {said.documents_past}件（最も早いもので {day} から）です。",
        f"{said.documents_past} documents are past that time; the first is from {day} on.",
    )


def _held(retention: Retention) -> Text:
    if retention.legal_hold is None:
        return Text("", "")
    why = shown(retention.legal_hold)
    return Text(f"保全中です。何も消せません（{why}）。", f"Legal hold: nothing may be deleted ({why}).")


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
