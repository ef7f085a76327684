"""The seller's books at Kessai: credit, transactions and the billings they gather in.

Source: credit facilities, review of transactions, grouping of billings, sandbox, read 2026-11-21.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from seikyu.sandbox.clock import Clock, today_jst
from seikyu.sandbox.mfkessai_data import Seed, seed
from seikyu.sandbox.mfkessai_problems import (
    Problem,
    Refusal,
    already_cancelled,
    not_cancelable,
    not_found,
    number_taken,
)
from seikyu.sandbox.mfkessai_records import (
    Billing,
    Customer,
    Destination,
    Draft,
    Facility,
    SellerMode,
    Transaction,
    business_day,
    resource_id,
)
from seikyu.sandbox.mfkessai_rules import INT32_MAX

_MAGIC: Final = {"__passed__": "passed", "__rejected__": "rejected", "__unexamined__": "unexamined"}


@dataclass(slots=True)
class Ledger:
    """Everything is kept by id, oldest first."""

    clock: Clock
    customers: dict[str, Customer]
    destinations: dict[str, Destination]
    facilities: dict[str, Facility]
    transactions: dict[str, Transaction]
    billings: dict[str, Billing]

    @property
    def today(self) -> date:
        return today_jst(self.clock)

    def register(self, draft: Draft, mode: SellerMode) -> Transaction | Refusal:
        """Enter a transaction: reviewed by credit or by a magic word, and gathered in a billing."""
        destination = self.destinations.get(draft.destination_id)
        if destination is None:
            return not_found(draft.destination_id)
        # a cancelled number stays taken; FAQ on cancelling, read 2026-11-21
        if any(known.draft.number == draft.number for known in self.transactions.values()):
            return number_taken()
        transaction = self._reviewed(draft, mode, destination.customer_id)
        billing = self._billing_for(transaction)
        if billing is not None:
            if self._sum(billing) + draft.amount > INT32_MAX:
                return Refusal(
                    400,
                    [Problem("invalid_transaction_amount", "the billing grows too large", str(draft.amount))],
                )
            self.billings[billing.id] = billing
            transaction = replace(transaction, billing_id=billing.id)
        self._spend(transaction)
        self.transactions[transaction.id] = transaction
        return transaction

    def cancel(self, transaction_id: str) -> Transaction | Refusal:
        """Cancel once. A rejected one cannot be cancelled: a guess, the states are not listed."""
        transaction = self.transactions.get(transaction_id)
        if transaction is None:
            return not_found(transaction_id)
        if transaction.status == "canceled":
            return already_cancelled(transaction_id)
        if transaction.status == "rejected":
            return not_cancelable(transaction_id)
        self._give_back(transaction)
        cancelled = replace(transaction, status="canceled", canceled_at=self.clock.now())
        self.transactions[transaction_id] = cancelled
        return cancelled

    def members(self, billing: Billing) -> Sequence[Transaction]:
        return [one for one in self.transactions.values() if one.billing_id == billing.id and one.counts]

    def is_unpaid(self, billing: Billing) -> bool:
        return bool(billing.shortage) and self.today > billing.due_date

    def customer_number(self, customer_id: str) -> str:
        return self.customers[customer_id].number

    def _reviewed(self, draft: Draft, mode: SellerMode, customer_id: str) -> Transaction:
        facility = self._facility_for(customer_id, draft.amount)
        forced = _forced_status(draft)
        status = forced or ("passed" if facility else "unexamined")
        now = self.clock.now()
        return Transaction(
            id=resource_id("transaction", len(self.transactions) + 1),
            draft=draft,
            customer_id=customer_id,
            mode=mode,
            issue_date=business_day(draft.issue_date),
            status=status,
            created_at=now,
            accepted_at=now if status == "passed" else None,
            facility_id=facility.id if facility and status == "passed" else "",
        )

    def _facility_for(self, customer_id: str, amount: int) -> Facility | None:
        """Return the facility in force today that covers `amount`, to the last yen."""
        return next(
            (
                facility
                for facility in self.facilities.values()
                if facility.customer_id == customer_id
                and facility.status(self.today) == "active"
                and amount <= facility.balance
            ),
            None,
        )

    def _billing_for(self, transaction: Transaction) -> Billing | None:
        waits = transaction.status == "unexamined" and transaction.mode is not SellerMode.KUBUN
        # the qualified modes list billings of unreviewed transactions too; billings, read 2026-11-21
        if transaction.status != "passed" and not waits:
            return None
        fresh = Billing(
            id=resource_id("billing", len(self.billings) + 1),
            mode=transaction.mode,
            customer_id=transaction.customer_id,
            destination_id=transaction.draft.destination_id,
            issue_date=transaction.issue_date,
            due_date=transaction.draft.due_date,
            created_at=transaction.created_at,
        )
        return next((one for one in self.billings.values() if one.grouping == fresh.grouping), fresh)

    def _sum(self, billing: Billing) -> int:
        return sum(one.draft.amount for one in self.members(billing))

    def _spend(self, transaction: Transaction) -> None:
        facility = self.facilities.get(transaction.facility_id)
        if facility is not None:
            self.facilities[facility.id] = facility.spend(transaction.draft.amount)

    def _give_back(self, transaction: Transaction) -> None:
        # only while the facility is in force: inferred from the error about canceled_in_effective_period
        facility = self.facilities.get(transaction.facility_id)
        if facility is not None and facility.status(self.today) == "active":
            self.facilities[facility.id] = facility.spend(-transaction.draft.amount)


def open_ledger(clock: Clock) -> Ledger:
    first: Seed = seed(clock.now())
    return Ledger(
        clock,
        {one.id: one for one in first.customers},
        {one.id: one for one in first.destinations},
        {one.id: one for one in first.facilities},
        {one.id: one for one in first.transactions},
        {one.id: one for one in first.billings},
    )


def _forced_status(draft: Draft) -> str | None:
    # the same magic word on every line fixes the review; sandbox, read 2026-11-21
    words = {detail.description for detail in draft.details}
    return _MAGIC.get(words.pop()) if len(words) == 1 else None
