"""What the Kessai twin keeps. Everything is frozen; a change puts a new record in the old one's place.

Money that may have fractions is Decimal; amounts in yen are int.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

# the characters seen in documented ids: objects, read 2026-11-21
_ID_ALPHABET: Final = "34679AEGMNPRVWY"


class SellerMode(StrEnum):
    """How the seller registers; the API does not tell, so it is configuration."""

    KUBUN = "kubun"
    BILLING = "billing"
    TRANSACTION = "transaction"


def resource_id(kind: str, number: int) -> str:
    """Return the id of the `number`th object of a kind, like 7679-YW36; always the same one."""
    digest = hashlib.sha256(f"{kind}/{number}".encode()).digest()
    letters = "".join(_ID_ALPHABET[byte % len(_ID_ALPHABET)] for byte in digest[:8])
    return f"{letters[:4]}-{letters[4:]}"


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    number: str
    name: str
    created_at: datetime
    has_alert: bool = False
    pays_by: str = "bank_transfer"


@dataclass(frozen=True, slots=True)
class Destination:
    id: str
    customer_id: str
    created_at: datetime
    name: str
    name_kana: str
    department: str
    zip_code: str
    address1: str
    tel: str
    email: str


@dataclass(frozen=True, slots=True)
class Facility:
    """A credit facility. Both dates belong to it."""

    id: str
    customer_id: str
    examination_id: str
    amount: int
    balance: int
    start_date: date
    end_date: date

    def status(self, today: date) -> str:
        if today < self.start_date:
            return "inactive"
        return "active" if today <= self.end_date else "expired"

    def spend(self, amount: int) -> "Facility":
        return replace(self, balance=self.balance - amount)


@dataclass(frozen=True, slots=True)
class Detail:
    description: str
    unit_price: Decimal
    quantity: Decimal
    amount: Decimal
    tax_rate_type: str
    tax_included_type: str


@dataclass(frozen=True, slots=True)
class TaxTotal:
    """Tax-inclusive yen of one tax category."""

    tax_rate_type: str
    amount: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction as sent, once every rule holds; `issue_date` as sent."""

    number: str
    destination_id: str
    traded_on: date
    issue_date: date
    due_date: date
    amount: int
    totals: tuple[TaxTotal, ...]
    details: tuple[Detail, ...]
    delivery_methods: tuple[str, ...]
    billing_condition: str


@dataclass(frozen=True, slots=True)
class Transaction:
    id: str
    draft: Draft
    customer_id: str
    mode: SellerMode
    issue_date: date
    status: str
    created_at: datetime
    accepted_at: datetime | None = None
    canceled_at: datetime | None = None
    billing_id: str = ""
    facility_id: str = ""

    @property
    def counts(self) -> bool:
        """Say whether the transaction is part of what its billing asks for."""
        return bool(self.billing_id) and self.status in ("passed", "unexamined")


@dataclass(frozen=True, slots=True)
class Billing:
    """What its transactions are asked for together; the amounts are summed when shown."""

    id: str
    mode: SellerMode
    customer_id: str
    destination_id: str
    issue_date: date
    due_date: date
    created_at: datetime
    shortage: int = 0

    @property
    def is_qualified(self) -> bool:
        return self.mode is not SellerMode.KUBUN

    def status(self, today: date) -> str:
        return "scheduled" if today < self.issue_date else "invoice_issued"

    @property
    def grouping(self) -> tuple[str, date, date, SellerMode]:
        # FAQ on grouping of billings, read 2026-11-21: destination, due date, issue date, registration style
        return self.destination_id, self.due_date, self.issue_date, self.mode


def totals_of(transactions: Iterable[Transaction]) -> tuple[TaxTotal, ...]:
    """Add up the tax categories of several transactions, in the order in which they come."""
    sums: dict[str, int] = {}
    for transaction in transactions:
        for total in transaction.draft.totals:
            sums[total.tax_rate_type] = sums.get(total.tax_rate_type, 0) + total.amount
    return tuple(TaxTotal(kind, amount) for kind, amount in sums.items())


def business_day(day: date) -> date:
    """Return `day`, or the Monday after it. National holidays are left out of the twin.

    Source: transactions, read 2026-11-21: an issue date on a holiday moves to the next business day.
    """
    saturday, sunday = 5, 6
    return day + timedelta(days={saturday: 2, sunday: 1}.get(day.weekday(), 0))
