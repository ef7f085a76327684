"""What the Kessai twin's lists can be asked for, parameter by parameter.

Source: the list pages of each object, read 2026-11-21.
"""

from collections.abc import Callable, Iterable, Sequence

from seikyu.sandbox.mfkessai_ledger import Ledger
from seikyu.sandbox.mfkessai_lists import Filter, FiltersOf, Item, Page, list_page
from seikyu.sandbox.mfkessai_problems import Refusal
from seikyu.sandbox.mfkessai_records import Billing, Customer, Destination, Facility, Transaction
from seikyu.sandbox.mfkessai_shapes import invoice_id

Query = Sequence[tuple[str, str]]

_FACILITY_STATUSES = ("expired", "active", "inactive")
_TRANSACTION_STATUSES = ("unexamined", "passed", "rejected", "canceled")
# "stopped" exists but cannot be asked for; billings, read 2026-11-21
_BILLING_STATUSES = ("scheduled", "invoice_issued", "account_transfer_notified")


def customers(ledger: Ledger, query: Query) -> Page[Customer] | Refusal:
    by = FiltersOf[Customer]()
    filters = [
        by.equals("number", "invalid_customer_number", lambda one: one.number),
        by.ids("ids", "invalid_customer_ids", lambda one: one.id),
        by.one_of(
            "payment_method",
            "invalid_customer_payment_method",
            ("bank_transfer", "account_transfer"),
            lambda one: one.pays_by,
        ),
        by.flag("has_alert", "invalid_customer_has_alert", lambda one: one.has_alert),
        *by.moments("created_at", lambda one: one.created_at),
    ]
    return list_page(_newest_first(ledger.customers.values()), query, filters)


def destinations(ledger: Ledger, query: Query) -> Page[Destination] | Refusal:
    by = FiltersOf[Destination]()
    filters = [
        *_of_customer(by, ledger, lambda one: one.customer_id),
        *by.moments("created_at", lambda one: one.created_at),
    ]
    return list_page(_newest_first(ledger.destinations.values()), query, filters)


def facilities(ledger: Ledger, query: Query) -> Page[Facility] | Refusal:
    by = FiltersOf[Facility]()
    filters = [
        *_of_customer(by, ledger, lambda one: one.customer_id),
        by.equals("customer_examination_id", "invalid_customer_examination_id", lambda one: one.examination_id),
        by.one_of(
            "status",
            "invalid_credit_facility_status",
            _FACILITY_STATUSES,
            lambda one: one.status(ledger.today),
            commas=True,
        ),
        *by.days("start_date", "invalid_credit_facility_start_date", lambda one: one.start_date),
        *by.days("end_date", "invalid_credit_facility_end_date", lambda one: one.end_date),
    ]
    return list_page(_newest_first(ledger.facilities.values()), query, filters)


def transactions(ledger: Ledger, query: Query) -> Page[Transaction] | Refusal:
    by = FiltersOf[Transaction]()
    filters = [
        by.equals("number", "invalid_transaction_number", lambda one: one.draft.number),
        *_of_customer(by, ledger, lambda one: one.customer_id),
        by.equals("billing_id", "invalid_billing_id", lambda one: one.billing_id),
        by.one_of("status", "invalid_transaction_status", _TRANSACTION_STATUSES, lambda one: one.status),
        by.flag("billing", "invalid_transaction_billing", lambda one: one.counts),
        *by.days("date", "invalid_transaction_date", lambda one: one.draft.traded_on),
        *by.moments("created_at", lambda one: one.created_at),
        *by.moments("canceled_at", lambda one: one.canceled_at),
        *by.moments("accepted_at", lambda one: one.accepted_at),
        *by.moments("billing_accepted_at", lambda one: one.created_at if one.counts else None),
        # from is included, to is not; transactions, read 2026-11-21
        by.yen("amount_from", "invalid_transaction_amount", lambda one, bound: one.draft.amount >= bound),
        by.yen("amount_to", "invalid_transaction_amount", lambda one, bound: one.draft.amount < bound),
    ]
    return list_page(_newest_first(ledger.transactions.values()), query, filters)


def billings(ledger: Ledger, query: Query, *, is_qualified: bool) -> Page[Billing] | Refusal:
    """List one of the two worlds: separate-rate billings show only while they hold a transaction."""
    by = FiltersOf[Billing]()
    filters = [
        *_of_customer(by, ledger, lambda one: one.customer_id),
        by.one_of("status", "invalid_billing_status", _BILLING_STATUSES, lambda one: one.status(ledger.today)),
        *by.days("due_date", "invalid_billing_due_date", lambda one: one.due_date),
        *by.days("issue_date", "invalid_billing_issue_date", lambda one: one.issue_date),
        by.flag("unpaid", "invalid_billing_unpaid", ledger.is_unpaid, empty_is_false=True),
        by.equals("invoice_id", "invalid_invoice_id", invoice_id),
        by.equals("account_transfer_notification_id", "invalid_account_transfer_notification_id", lambda _: ""),
    ]
    chosen = [
        one
        for one in _newest_first(ledger.billings.values())
        if one.is_qualified is is_qualified and (is_qualified or ledger.members(one))
    ]
    return list_page(chosen, query, filters)


def _of_customer(
    by: FiltersOf[Item],
    ledger: Ledger,
    customer_of: Callable[[Item], str],
) -> tuple[Filter[Item], Filter[Item]]:
    return (
        by.equals("customer_id", "invalid_customer_id", customer_of),
        by.equals(
            "customer_number",
            "invalid_customer_number",
            lambda one: ledger.customer_number(customer_of(one)),
        ),
    )


def _newest_first(oldest_first: Iterable[Item]) -> list[Item]:
    return list(oldest_first)[::-1]
