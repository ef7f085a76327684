"""Objects as Kessai prints them, with the oddities that its own examples show.

Source: objects and their examples, read 2026-11-21. Where "empty" is not explained, the twin uses "", null
and an absent key in turn, so that a reader has to understand all three.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

from seikyu.sandbox.clock import JST
from seikyu.sandbox.mfkessai_records import (
    Billing,
    Customer,
    Destination,
    Detail,
    Facility,
    TaxTotal,
    Transaction,
    totals_of,
)
from seikyu.sandbox.wire import Json

# tables say the first, every printed example the second; transaction object, read 2026-11-21
DeliveryKey = Literal["invoice_delivery_methods", "invoice_delivery_method"]


def show_customer(customer: Customer) -> Json:
    method: dict[str, Json] = {"object": "payment_method"}
    if customer.pays_by == "bank_transfer":
        method["bank_transfer"] = {"object": "bank_transfer", "account_number": "", "bank_name": None}
    else:
        method["account_transfer"] = {"object": "account_transfer"}
    return {
        "created_at": moment(customer.created_at),
        "has_alert": customer.has_alert,
        "id": customer.id,
        "name": customer.name,
        "number": customer.number,
        "object": "customer",
        "payment_method": method,
        "uri": f"mfk:customer:{customer.id}",
        # undocumented on purpose: a reader must not stumble over what it does not know
        "registered_channel": "admin",
    }


def show_destination(destination: Destination) -> Json:
    return {
        "address1": destination.address1,
        "address2": "",
        "cc_emails": [],
        "created_at": moment(destination.created_at),
        "customer_id": destination.customer_id,
        "department": destination.department,
        "email": destination.email,
        "id": destination.id,
        "name": destination.name,
        "name_kana": destination.name_kana,
        "object": "destination",
        "tel": destination.tel,
        "title": None,
        "uri": f"mfk:destination:{destination.id}",
        "zip_code": destination.zip_code,
    }


def show_facility(facility: Facility, today: date) -> Json:
    # its examples carry no `object`; credit facility, read 2026-11-21
    return {
        "amount": facility.amount,
        "balance": facility.balance,
        "customer_examination_id": facility.examination_id,
        "customer_id": facility.customer_id,
        "end_date": facility.end_date.isoformat(),
        "id": facility.id,
        "start_date": facility.start_date.isoformat(),
        "status": facility.status(today),
        "uri": f"mfk:credit_facility:{facility.id}",
    }


def show_transaction(transaction: Transaction, key: DeliveryKey) -> Json:
    draft = transaction.draft
    is_billed = transaction.counts
    shown: dict[str, Json] = {
        "accepted_at": moment(transaction.accepted_at) if transaction.accepted_at else None,
        "amount": draft.amount,
        "amounts_per_tax_rate_type": _totals(draft.totals),
        "billing": is_billed,
        "billing_accepted_at": moment(transaction.created_at) if is_billed else "",
        "billing_condition": draft.billing_condition,
        "canceled_at": moment(transaction.canceled_at) if transaction.canceled_at else None,
        "created_at": moment(transaction.created_at),
        "customer_id": transaction.customer_id,
        "date": draft.traded_on.isoformat(),
        "destination_id": draft.destination_id,
        "due_date": draft.due_date.isoformat(),
        "id": transaction.id,
        key: list(draft.delivery_methods),
        "issue_date": transaction.issue_date.isoformat(),
        "number": draft.number,
        "object": "transaction",
        "status": transaction.status,
        "transaction_details": [_detail(detail) for detail in draft.details],
        "uri": f"mfk:transaction:{transaction.id}",
        "registered_channel": "api",
    }
    return shown | ({"billing_id": transaction.billing_id} if transaction.billing_id else {})


def show_billing(billing: Billing, transactions: Sequence[Transaction], today: date, key: DeliveryKey) -> Json:
    """Show a billing made of `transactions`, those that count."""
    totals = totals_of(transactions)
    methods = {method for transaction in transactions for method in transaction.draft.delivery_methods}
    is_issued = billing.status(today) == "invoice_issued"
    shown: dict[str, Json] = {
        "account_transfer_notification_ids": [],
        "amount": sum(transaction.draft.amount for transaction in transactions),
        "amounts_per_tax_rate_type": _totals(totals),
        "customer_id": billing.customer_id,
        "destination_id": billing.destination_id,
        "due_date": billing.due_date.isoformat(),
        "id": billing.id,
        key: sorted(methods),
        "invoice_ids": [invoice_id(billing)] if is_issued else [],
        "issue_date": billing.issue_date.isoformat(),
        "object": "billing",
        "status": billing.status(today),
        "uri": f"mfk:billing:{billing.id}",
    }
    if billing.shortage and today > billing.due_date:
        shown["unpaid"] = {"shortage_amount": billing.shortage, "updated_date": today.isoformat()}
    return shown


def invoice_id(billing: Billing) -> str:
    # ids of invoice documents hold a slash; billing object, read 2026-11-21
    return f"i/{billing.id}"


def moment(at: datetime) -> str:
    return at.astimezone(JST).isoformat(timespec="seconds")


def _totals(totals: Sequence[TaxTotal]) -> Json:
    return [{"amount": total.amount, "tax_rate_type": total.tax_rate_type} for total in totals]


def _detail(detail: Detail) -> Json:
    # a return is sent with a minus in the price, printed with one in the quantity; examples, read 2026-11-21
    sign = -1 if detail.unit_price < 0 else 1
    return {
        "amount": detail.amount,
        "description": detail.description,
        "object": "transaction_detail",
        "quantity": detail.quantity * sign,
        "tax_included_type": detail.tax_included_type,
        "tax_rate_type": detail.tax_rate_type,
        "unit_price": detail.unit_price * sign,
    }
