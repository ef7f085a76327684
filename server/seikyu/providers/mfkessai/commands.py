"""What a model can ask of Money Forward Kessai."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from seikyu.models import ExactDecimal, IsoDate, SignedYen, Yen, misfit
from seikyu.providers.mfkessai.models import DeliveryMethod, TaxIncludedType, TaxRateType
from seikyu.spec import Command

_ID: Final = re.compile(r"[0-9A-Za-z_\-]{1,64}", re.ASCII)


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise misfit("道具が返したIDをそのまま書いてください", "must be an id as a tool returned it")
    return value


Id: TypeAlias = Annotated[str, AfterValidator(_id)]
"""Issued by MFK. Its shape is checked, not shown: a pattern would cost every model tokens."""
PlainYen: TypeAlias = Annotated[Yen, WithJsonSchema({"type": "integer"})]
"""Bounds are checked and told when broken; in the schema they would cost tokens."""
ConnectionName: TypeAlias = Annotated[str | SkipJsonSchema[None], Field(description="from list_connections")]


class LookupCustomer(Command):
    """Find customers (顧客) and their destinations (請求先), newest first.

    A name is searched in up to 2,000 customers a call; go on with next_cursor.
    Destinations come with up to 10 customers.
    """

    connection: ConnectionName = None
    query: Annotated[
        Annotated[str, Field(min_length=1, max_length=100)] | SkipJsonSchema[None],
        Field(description="part of the name, or the exact number or id; absent: all"),
    ] = None
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    cursor: Annotated[Id | SkipJsonSchema[None], Field(description="next_cursor")] = None


class CheckCreditBalance(Command):
    """Tell a customer's credit balance (与信残高), overdue billings, and if an amount passes now."""

    connection: ConnectionName = None
    customer_id: Annotated[Id, Field(description="from lookup_customer")]
    amount: Annotated[PlainYen | SkipJsonSchema[None], Field(description="yen, tax included")] = None


class TransactionLine(Command):
    description: Annotated[str, Field(min_length=1, max_length=250)]
    quantity: ExactDecimal
    unit_price: Annotated[ExactDecimal, Field(description="negative for a return")]
    tax_rate_type: TaxRateType = "normal_10"
    tax_included_type: Annotated[TaxIncludedType, Field(description="of unit_price")]


class TaxRateTotal(Command):
    tax_rate_type: Annotated[TaxRateType, WithJsonSchema({"type": "string"})]
    amount: Annotated[SignedYen, WithJsonSchema({"type": "integer"})]


class TransactionDraft(Command):
    """A transaction (取引) as asked for."""

    connection: ConnectionName = None
    destination_id: Annotated[Id, Field(description="from lookup_customer")]
    lines: Annotated[list[TransactionLine], Field(min_length=1, max_length=500)]
    date: Annotated[IsoDate, Field(description="取引日")]
    issue_date: Annotated[IsoDate, Field(description="請求書発行日")]
    due_date: Annotated[IsoDate, Field(description="支払期限")]
    invoice_delivery_methods: Annotated[list[DeliveryMethod], Field(min_length=1, max_length=2)]
    number: Annotated[
        Annotated[str, Field(min_length=1, max_length=100)] | SkipJsonSchema[None],
        Field(description="your own, unique forever; absent: made for you"),
    ] = None
    amount: Annotated[
        PlainYen | SkipJsonSchema[None], Field(description="yen, tax included; checked against the lines")
    ] = None
    totals: Annotated[
        list[TaxRateTotal] | SkipJsonSchema[None],
        Field(description="yen per tax rate, tax included; absent: computed"),
    ] = None

    @model_validator(mode="after")
    def _each_method_once(self) -> Self:
        if len(set(self.invoice_delivery_methods)) != len(self.invoice_delivery_methods):
            raise misfit(
                "invoice_delivery_methods に同じ方法を二度書けません",
                "invoice_delivery_methods must not repeat a method",
            )
        return self


def _in_few_words(schema: JsonDict) -> None:
    """Leave out what register_transaction tells already; the validation stays."""
    properties = schema["properties"]
    for each in properties.values() if isinstance(properties, dict) else ():
        if isinstance(each, dict):
            for key in ("description", "minLength", "maxLength", "minItems", "maxItems"):
                each.pop(key, None)


class PreviewTransaction(TransactionDraft):
    """Work out a transaction, its credit and the policy's answer; proposes nothing.

    Arguments as for register_transaction.
    """

    model_config = ConfigDict(json_schema_extra=_in_few_words)


class RegisterTransaction(TransactionDraft):
    """Propose to register a transaction (取引登録): the customer is billed once MFK's review passes.

    Returns awaiting_approval; do not repeat the call, poll get_action. Try it with preview_transaction first.
    """


class GetTransaction(Command):
    """Show a transaction (取引) by id or by number: status, amount, dates, first 20 lines."""

    connection: ConnectionName = None
    transaction_id: Id | SkipJsonSchema[None] = None
    number: Annotated[str, Field(min_length=1, max_length=100)] | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.transaction_id is None) == (self.number is None):
            raise misfit(
                "transaction_id か number のどちらか一つを書いてください", "give either transaction_id or number"
            )
        return self


class CancelTransaction(Command):
    """Propose to cancel a transaction (取引取消) for good; its number stays taken.

    Returns awaiting_approval; do not repeat the call, poll get_action.
    """

    connection: ConnectionName = None
    transaction_id: Annotated[Id, Field(description="from get_transaction")]
    reason: Annotated[str, Field(min_length=1, max_length=200, description="kept in the audit, not sent to MFK")]
