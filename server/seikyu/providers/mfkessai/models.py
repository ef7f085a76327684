"""What Money Forward Kessai answers, and the body of a new transaction.

Answers are read leniently: unknown keys are ignored, an empty value may be `""`, null or absent, a status
stays raw text. Requests are written strictly. Source: MFK API v2 reference, read 2026-11-21.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from seikyu.models import IsoDate

TaxRateType: TypeAlias = Literal[
    "normal_10", "reduced_8", "normal_8", "transitional_measures_8", "non_taxable", "inapplicable"
]
TaxIncludedType: TypeAlias = Literal["excluded", "included"]
DeliveryMethod: TypeAlias = Literal["email", "posting"]
InvoiceMode: TypeAlias = Literal["kubun", "billing", "transaction"]

ItemT = TypeVar("ItemT")


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _none_is_empty(value: object) -> object:
    return value or ()


def _is_given(value: object) -> object:
    return value is not None and value != ""


def _whole(value: object) -> object:
    is_whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    return int(value) if isinstance(value, Decimal) and is_whole else value


AnswerId: TypeAlias = Annotated[str, StringConstraints(strict=True, max_length=100, pattern=r"^[!-~]+$")]
"""Issued by MFK: opaque, but for blanks and what cannot be seen, which no id holds."""
AnswerYen: TypeAlias = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
"""Whole yen; `5440.0` is accepted, `"5440"` and `true` are not."""
MaybeText: TypeAlias = Annotated[str | None, BeforeValidator(_empty_is_none)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Pagination(_Answer):
    """Cursors of a page: `after=<end>` goes on, as long as `has_next`."""

    end: MaybeText = None
    has_next: bool = False
    total: int | None = None


class Page(_Answer, Generic[ItemT]):
    """A list as MFK gives it, newest first."""

    items: tuple[ItemT, ...]
    pagination: Annotated[Pagination | None, BeforeValidator(_empty_is_none)] = None

    @property
    def next_cursor(self) -> str | None:
        """Where the list goes on: `end`, the id of the last item, which one that leaves it out says all the same."""
        if self.pagination is None or not self.pagination.has_next:
            return None
        return self.pagination.end or (getattr(self.items[-1], "id", None) if self.items else None)

    @property
    def total(self) -> int | None:
        return self.pagination.total if self.pagination else None

    @property
    def is_whole(self) -> bool:
        """Whether these are all: none on a further page, and not more counted than are here."""
        return self.pagination is None or not (self.pagination.has_next or (self.total or 0) > len(self.items))


class PaymentMethod(_Answer):
    """How a customer pays. One of the two keys is filled; what is in it (bank accounts) is left unread."""

    account_transfer: Annotated[bool, BeforeValidator(_is_given)] = False
    bank_transfer: Annotated[bool, BeforeValidator(_is_given)] = False

    @property
    def kind(self) -> Literal["account_transfer", "bank_transfer"]:
        return "account_transfer" if self.account_transfer and not self.bank_transfer else "bank_transfer"


class Customer(_Answer):
    """顧客: the company that buys."""

    id: AnswerId
    name: str
    number: MaybeText = None
    has_alert: bool = False
    payment_method: Annotated[PaymentMethod | None, BeforeValidator(_empty_is_none)] = None


class Destination(_Answer):
    """請求先: where a customer's invoices go."""

    id: AnswerId
    customer_id: AnswerId
    name: MaybeText = None
    department: MaybeText = None
    title: MaybeText = None
    zip_code: MaybeText = None
    address1: MaybeText = None
    address2: MaybeText = None
    email: MaybeText = None
    cc_emails: Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)] = ()


class CreditFacility(_Answer):
    """与信枠: the credit of a customer between two days, both included."""

    id: AnswerId
    customer_id: AnswerId
    amount: AnswerYen
    balance: AnswerYen
    start_date: IsoDate
    end_date: IsoDate
    status: MaybeText = None


class TaxTotal(_Answer):
    """The tax-inclusive total of one tax rate, in yen."""

    tax_rate_type: str
    amount: AnswerYen


class TransactionDetail(_Answer):
    """取引明細 as returned. A return may carry its sign in `quantity` though it was sent in `unit_price`."""

    description: str
    amount: Decimal
    quantity: Annotated[Decimal | None, BeforeValidator(_empty_is_none)] = None
    unit_price: Annotated[Decimal | None, BeforeValidator(_empty_is_none)] = None
    tax_rate_type: MaybeText = None
    tax_included_type: MaybeText = None


class _HasDelivery(_Answer):
    invoice_delivery_methods: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _either_key(cls, value: object) -> object:
        """The examples of the reference print the key in the singular, its tables in the plural."""
        if not isinstance(value, dict):
            return value
        answer = cast("dict[str, object]", value)
        methods = answer.get("invoice_delivery_methods") or answer.get("invoice_delivery_method") or ()
        return {**answer, "invoice_delivery_methods": methods}


class Transaction(_HasDelivery):
    """取引. Decide by `status`: `canceled_at` is filled in examples that are not cancelled."""

    id: AnswerId
    number: str
    status: str
    customer_id: AnswerId
    destination_id: AnswerId
    amount: AnswerYen
    date: IsoDate
    issue_date: IsoDate
    due_date: IsoDate
    amounts_per_tax_rate_type: Annotated[tuple[TaxTotal, ...] | None, BeforeValidator(_empty_is_none)] = None
    transaction_details: tuple[TransactionDetail, ...] = ()
    billing_id: MaybeText = None
    canceled_at: MaybeText = None


class CanceledTransaction(Transaction):
    """The answer to a cancellation; one that still says `passed` proves nothing, so it is not this answer."""

    @field_validator("status")
    @classmethod
    def _is_canceled(cls, status: str) -> str:
        if status != "canceled":
            raise ValueError("not cancelled")
        return status


class Unpaid(_Answer):
    """未入金: what was missing after the due date."""

    shortage_amount: AnswerYen
    updated_date: MaybeText = None


class Billing(_HasDelivery):
    """請求: transactions of one destination, due date and issue date."""

    id: AnswerId
    customer_id: AnswerId
    amount: AnswerYen
    due_date: IsoDate
    status: MaybeText = None
    unpaid: Annotated[Unpaid | None, BeforeValidator(_empty_is_none)] = None


class _Payload(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


class TaxTotalPayload(_Payload):
    tax_rate_type: TaxRateType
    amount: int


class DetailPayload(_Payload):
    """A line as it is sent. The `_str` twins carry exact decimals; MFK ignores the numbers beside them."""

    description: str
    quantity_str: str
    unit_price_str: str
    amount_str: str
    tax_rate_type: TaxRateType
    tax_included_type: TaxIncludedType


class TransactionPayload(_Payload):
    """The body of a registration. `amount` and its split are left out where MFK computes them."""

    number: str
    destination_id: str
    date: IsoDate
    issue_date: IsoDate
    due_date: IsoDate
    invoice_delivery_methods: list[DeliveryMethod]
    amount: int | None = None
    amounts_per_tax_rate_type: list[TaxTotalPayload] | None = None
    transaction_details: list[DetailPayload]
