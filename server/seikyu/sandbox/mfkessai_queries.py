"""What the Kessai twin's lists can be asked for, parameter by parameter.

Source: the list pages of each object, read 2026-11-21.
"""

from collections.abc import Callable, Iterable, Sequence

from seikyu.sandbox.mfkessai_ledger import Ledger
from seikyu.sandbox.mfkessai_lists import (
    Filter,
    Item,
    Page,
    days,
    equals,
    flag,
    ids,
    list_page,
    moments,
    one_of,
    yen,
)
from seikyu.sandbox.mfkessai_problems import Refusal
from seikyu.sandbox.mfkessai_records import Billing, Customer, Destination, Facility, Transaction
from seikyu.sandbox.mfkessai_shapes import invoice_id

Query = Sequence[tuple[str, str]]

_FACILITY_STATUSES = ("expired", "active", "inactive")
_TRANSACTION_STATUSES = ("unexamined", "passed", "rejected", "canceled")
# "stopped" exists but cannot be asked for; billings, read 2026-11-21
_BILLING_STATUSES = ("scheduled", "invoice_issued", "account_transfer_notified")


def customers(ledger: Ledger, query: Query) -> Page[Customer] | Refusal:
    filters: list[Filter[Customer]] = [
        equals("number", "invalid_customer_number", lambda one: one.number),
        ids("ids", "invalid_customer_ids", lambda one: one.id),
        one_of(
            "payment_method",
            "invalid_customer_payment_method",
            ("bank_transfer", "account_transfer"),
            lambda one: one.pays_by,
        ),
        flag("has_alert", "invalid_customer_has_alert", lambda one: one.has_alert),
        *moments("created_at", lambda one: one.created_at),
    ]
    return list_page(_newest_first(ledger.customers.values()), query, filters)


def destinations(ledger: Ledger, query: Query) -> Page[Destination] | Refusal:
    filters: list[Filter[Destination]] = [
        *_of_customer(ledger, lambda one: one.customer_id),
        *moments("created_at", lambda one: one.created_at),
    ]
    return list_page(_newest_first(ledger.destinations.values()), query, filters)


def facilities(ledger: Ledger, query: Query) -> Page[Facility] | Refusal:
    filters: list[Filter[Facility]] = [
        *_of_customer(ledger, lambda one: one.customer_id),
        equals("customer_examination_id", "invalid_customer_examination_id", lambda one: one.examination_id),
        one_of(
            "status",
            "invalid_credit_facility_status",
            _FACILITY_STATUSES,
            lambda one: one.status(ledger.today),
            commas=True,
        ),
        *days("start_date", "invalid_credit_facility_start_date", lambda one: one.start_date),
        *days("end_date", "invalid_credit_facility_end_date", lambda one: one.end_date),
    ]
    return list_page(_newest_first(ledger.facilities.values()), query, filters)


def transactions(ledger: Ledger, query: Query) -> Page[Transaction] | Refusal:
    filters: list[Filter[Transaction]] = [
        equals("number", "invalid_transaction_number", lambda one: one.draft.number),
        *_of_customer(ledger, lambda one: one.customer_id),
        equals("billing_id", "invalid_billing_id", lambda one: one.billing_id),
        one_of("status", "invalid_transaction_status", _TRANSACTION_STATUSES, lambda one: one.status),
        flag("billing", "invalid_transaction_billing", lambda one: one.counts),
        *days("date", "invalid_transaction_date", lambda one: one.draft.date),
        *moments("created_at", lambda one: one.created_at),
        *moments("canceled_at", lambda one: one.canceled_at),
        *moments("accepted_at", lambda one: one.accepted_at),
        *moments("billing_accepted_at", lambda one: one.created_at if one.counts else None),
        # from is included, to is not; transactions, read 2026-11-21
        yen("amount_from", "invalid_transaction_amount", lambda one, bound: one.draft.amount >= bound),
        yen("amount_to", "invalid_transaction_amount", lambda one, bound: one.draft.amount < bound),
    ]
    return list_page(_newest_first(ledger.transactions.values()), query, filters)


def billings(ledger: Ledger, query: Query, *, is_qualified: bool) -> Page[Billing] | Refusal:
    """List one of the two worlds: separate-rate billings show only while they hold a transaction."""
    filters: list[Filter[Billing]] = [
        *_of_customer(ledger, lambda one: one.customer_id),
        one_of("status", "invalid_billing_status", _BILLING_STATUSES, lambda one: one.status(ledger.today)),
        *days("due_date", "invalid_billing_due_date", lambda one: one.due_date),
        *days("issue_date", "invalid_billing_issue_date", lambda one: one.issue_date),
        flag("unpaid", "invalid_billing_unpaid", ledger.is_unpaid, empty_is_false=True),
        equals("invoice_id", "invalid_invoice_id", invoice_id),
        equals("account_transfer_notification_id", "invalid_account_transfer_notification_id", lambda _: ""),
    ]
    chosen = [
        one
        for one in _newest_first(ledger.billings.values())
        if one.is_qualified is is_qualified and (is_qualified or ledger.members(one))
    ]
    return list_page(chosen, query, filters)


def _of_customer(ledger: Ledger, customer_of: Callable[[Item], str]) -> tuple[Filter[Item], Filter[Item]]:
    return (
        equals("customer_id", "invalid_customer_id", customer_of),
        equals(
            "customer_number",
            "invalid_customer_number",
            lambda one: ledger.customer_number(customer_of(one)),
        ),
    )


def _newest_first(oldest_first: Iterable[Item]) -> list[Item]:
    return list(oldest_first)[::-1]
