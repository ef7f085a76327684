"""What a registration and a cancellation stand on at MFK: what an operator's approval is about besides the request.

Only what a person changes at MFK. Credit balances, times of change and what MFK computes are left out: they would void
approvals every day. Source: MFK API v2 reference, customer, destination and transaction objects, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from seikyu.errors import Text
from seikyu.providers.mfkessai.models import Customer, Destination, Transaction
from seikyu.spec import TargetRecord

NAMES: Final[Mapping[str, Text]] = {
    "counterparty_id": Text("顧客ID", "Customer id"),
    "counterparty_name": Text("顧客名", "Customer name"),
    "alert": Text("顧客のアラート", "Alert on the customer"),
    "destination_name": Text("送付先 担当者", "Invoice to"),
    "destination_department": Text("送付先 部署", "Invoice to, department"),
    "destination_title": Text("送付先 役職", "Invoice to, title"),
    "zip_code": Text("送付先 郵便番号", "Invoice to, postcode"),
    "address": Text("送付先 住所", "Invoice to, address"),
    "email": Text("送付先 メール", "Invoice to, e-mail"),
    "cc_emails": Text("送付先 CC", "Invoice to, copies"),
    "number": Text("取引番号", "Number"),
    "status": Text("取引の状態", "Status of the transaction"),
    "amount": Text("取引金額", "Amount"),
}


def billed(customer: Customer, destination: Destination) -> TargetRecord:
    """Who is billed by a registration, and where the invoice goes."""
    return {
        "counterparty_id": customer.id,
        "counterparty_name": customer.name,
        "alert": "yes" if customer.has_alert else "no",
        "destination_name": destination.name or "",
        "destination_department": destination.department or "",
        "destination_title": destination.title or "",
        "zip_code": destination.zip_code or "",
        "address": " ".join(part for part in (destination.address1, destination.address2) if part),
        "email": destination.email or "",
        "cc_emails": ", ".join(sorted(destination.cc_emails)),
    }


def cancellable(transaction: Transaction) -> TargetRecord:
    """The transaction a cancellation takes back, as it stands."""
    return {
        "number": transaction.number,
        "status": transaction.status,
        "amount": str(transaction.amount),
        "counterparty_id": transaction.customer_id,
    }
