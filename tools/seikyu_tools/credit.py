"""Credit (与信): what a customer may still buy on account."""

from __future__ import annotations

from datetime import date
from typing import Final

from seikyu.errors import NOTHING, ProviderError, Text
from seikyu.models import IsoDate, shown, timestamp
from seikyu.providers.mfkessai.commands import CheckCreditBalance
from seikyu.providers.mfkessai.models import Billing, Customer
from seikyu.providers.mfkessai.operations import (
    GET_CUSTOMER,
    LIST_BILLINGS,
    LIST_CREDIT_FACILITIES,
    LIST_QUALIFIED_BILLINGS,
)
from seikyu.providers.mfkessai.rules import CreditJudgement, Judgement, credit_notes, judge_credit
from seikyu.spec import Answer, Call, Effect, Reader, Result, Tool, ToolSpec

PAGE_SIZE: Final = 200
"""Overdue billings read of each kind: MFK's largest page."""
MAX_UNPAID: Final = 20
"""Overdue billings shown, the oldest first."""


class FacilityRow(Result):
    """The credit facility in force today."""

    id: str
    amount_yen: int
    balance_yen: int
    start_date: IsoDate
    end_date: IsoDate


class UnpaidRow(Result):
    """A billing that was not paid when due."""

    billing_id: str
    shortage_yen: int
    due_date: IsoDate


class CreditBalance(Result):
    """What MFK's credit rules say of the customer today."""

    customer_id: str
    customer_name: str
    facility: FacilityRow | None
    requested_amount_yen: int | None
    passes_at_once: bool | None
    judgement: Judgement
    has_alert: bool
    unpaid: list[UnpaidRow]
    unpaid_total: int
    truncated: bool
    as_of: str
    """UTC."""


async def _check_credit_balance(command: CheckCreditBalance, call: Call) -> Answer:
    _, reader = call.at()
    customer = await reader.read(GET_CUSTOMER, path={"customer_id": command.customer_id})
    judgement = await read_credit(reader, customer, command.amount, call.today)
    oldest = sorted(judgement.unpaid, key=lambda billing: billing.due_date)
    result = CreditBalance(
        customer_id=customer.id,
        customer_name=shown(customer.name, 100),
        facility=_facility_row(judgement),
        requested_amount_yen=command.amount,
        passes_at_once=judgement.passes_at_once,
        judgement=judgement.word,
        has_alert=judgement.has_alert,
        unpaid=[_unpaid_row(billing) for billing in oldest[:MAX_UNPAID]],
        unpaid_total=len(oldest),
        truncated=judgement.has_more_unpaid or len(oldest) > MAX_UNPAID,
        as_of=timestamp(call.now),
    )
    return Answer(result, sum(credit_notes(judgement), start=NOTHING))


async def read_credit(reader: Reader, customer: Customer, amount: int | None, today: date) -> CreditJudgement:
    """Judge `amount` for `customer` on `today`.

    Raises:
        ProviderError: MFK did not tell; on the billing-agency plan it has no credit facilities.
    """
    day, of_customer = today.isoformat(), ("customer_id", customer.id)
    facilities = await reader.read(
        LIST_CREDIT_FACILITIES, query=[of_customer, ("start_date_to", day), ("end_date_from", day)]
    )
    unpaid = [of_customer, ("unpaid", "true"), ("limit", str(PAGE_SIZE))]
    # each of the two lists leaves out what the other has
    pages = [await reader.read(billings, query=unpaid) for billings in (LIST_BILLINGS, LIST_QUALIFIED_BILLINGS)]
    return judge_credit(
        [facility for facility in facilities.items if facility.customer_id == customer.id],
        [billing for page in pages for billing in page.items if billing.customer_id == customer.id],
        amount,
        today,
        has_alert=customer.has_alert,
        has_more_unpaid=any(page.next_cursor is not None for page in pages),
    )


async def notes_on_credit(reader: Reader, customer: Customer, amount: int, today: date) -> tuple[Text, ...]:
    """The judgement for the person who decides; a credit that cannot be read stops no registration."""
    try:
        judgement = await read_credit(reader, customer, amount, today)
    except ProviderError:
        return (Text("与信残高を確認できませんでした。", "The credit balance could not be read."),)
    return credit_notes(judgement)


def _facility_row(judgement: CreditJudgement) -> FacilityRow | None:
    facility = judgement.facility
    if facility is None:
        return None
    return FacilityRow(
        id=facility.id,
        amount_yen=facility.amount,
        balance_yen=facility.balance,
        start_date=facility.start_date,
        end_date=facility.end_date,
    )


def _unpaid_row(billing: Billing) -> UnpaidRow:
    shortage = billing.unpaid.shortage_amount if billing.unpaid else 0
    return UnpaidRow(billing_id=billing.id, shortage_yen=shortage, due_date=billing.due_date)


TOOLS: tuple[Tool, ...] = (
    ToolSpec(
        name="check_credit_balance",
        title="与信残高を確認",
        effect=Effect.READ,
        command=CheckCreditBalance,
        result=CreditBalance,
        toolset="mfkessai",
        provider="mfkessai",
        run=_check_credit_balance,
    ),
)
