"""What a model can ask of invox."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from seikyu.models import IsoDate
from seikyu.providers.invox.rules import (
    checked_amount,
    checked_currency,
    checked_line,
    checked_registration_number,
    checked_tags,
    checked_voucher_number,
)
from seikyu.spec import Command

Amount: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(checked_amount),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["integer", "string"]}),
    Field(ge=0),
]
RegistrationNumber: TypeAlias = Annotated[str, AfterValidator(checked_registration_number)]
Line: TypeAlias = Annotated[str, AfterValidator(checked_line)]
"""Lengths stand in validators, not in the schema, whose every token is paid in every conversation."""


class UploadEStorageDocument(Command):
    """Propose storing a document in invox 電子帳簿保存. Returns awaiting_approval; do not repeat."""

    connection: Annotated[str | SkipJsonSchema[None], Field(description="from list_connections")] = None
    path: Annotated[str, Field(description="pdf/png/jpg in the inbox folder")]
    doc_type: Annotated[Line, Field(description="書類名, e.g. 見積書(受領)")]
    entry_method: Annotated[Literal["user", "ocr", "operator"], Field(description="user: the fields given here")] = (
        "user"
    )
    partner_name: Annotated[Line | SkipJsonSchema[None], Field(description="as on the document")] = None
    transaction_amount: Annotated[Amount | SkipJsonSchema[None], Field(description="tax included")] = None
    currency_code: Annotated[
        Annotated[str, AfterValidator(checked_currency)] | SkipJsonSchema[None],
        Field(description="if not JPY"),
    ] = None
    transaction_date: IsoDate | SkipJsonSchema[None] = None
    corporate_tax_no: Annotated[RegistrationNumber | SkipJsonSchema[None], Field(description="T + 13 digits")] = None
    voucher_number: Annotated[str, AfterValidator(checked_voucher_number)] | SkipJsonSchema[None] = None
    tags: Annotated[
        Annotated[list[Line], AfterValidator(checked_tags)] | SkipJsonSchema[None],
        Field(description="as in invox"),
    ] = None
