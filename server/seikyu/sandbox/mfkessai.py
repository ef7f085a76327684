"""The twin of Money Forward Kessai API v2, as far as Seikyu speaks it.

Source: authentication, customers, destinations, credit_facilities, transactions, billings,
read 2026-11-21.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from seikyu.sandbox import mfkessai_queries as queries
from seikyu.sandbox.clock import Clock
from seikyu.sandbox.effects import Effect, EffectLog
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.sandbox.mfkessai_ledger import Ledger, open_ledger
from seikyu.sandbox.mfkessai_lists import Item, Page
from seikyu.sandbox.mfkessai_problems import (
    Problem,
    Refusal,
    failure,
    not_found,
    rate_limited,
    unauthorized,
)
from seikyu.sandbox.mfkessai_records import Billing, Draft, Facility, SellerMode, Transaction
from seikyu.sandbox.mfkessai_rules import read_transaction
from seikyu.sandbox.mfkessai_shapes import (
    DeliveryKey,
    show_billing,
    show_customer,
    show_destination,
    show_facility,
    show_transaction,
)
from seikyu.sandbox.wire import Answer, Call, Json, Route, json_answer, parse_json


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in any `window_s` seconds of twin clock; the provider publishes no numbers."""

    requests: int
    window_s: int


@dataclass(slots=True)
class MfkessaiTwin:
    """Set `seller_mode`, `delivery_key` and `rate_limit` before or between calls."""

    clock: Clock
    log: EffectLog
    base_url: str = ""
    prefix: str = "/mfkessai/v2"
    # a guess: no size is documented; 500 lines of 250 characters fit many times over
    body_limit_bytes: int = 5_000_000
    api_key: str = API_KEY
    seller_mode: SellerMode = SellerMode.TRANSACTION
    delivery_key: DeliveryKey = "invoice_delivery_methods"
    rate_limit: RateLimit | None = None
    ledger: Ledger = field(init=False)
    routes: Sequence[Route] = field(init=False)
    _recent: list[datetime] = field(default_factory=list[datetime])

    def __post_init__(self) -> None:
        self.ledger = open_ledger(self.clock)
        self.routes = [
            Route(method, f"{self.prefix}{path}", f"mfkessai.{name}", partial(self._admit, handle))
            for (method, path), (name, handle) in _OPERATIONS.items()
        ]

    @property
    def effects(self) -> list[Effect]:
        return self.log.of("mfkessai")

    def reset(self) -> None:
        """Go back to the seed; the settings stay."""
        self.ledger = open_ledger(self.clock)
        self._recent.clear()

    def failure(self, status: int, call: Call) -> Answer:
        _ = call
        return failure(status)

    def _admit(self, handle: "_Handler", call: Call) -> Answer:
        # refused before anything is read: with 429 nothing was processed; errors, read 2026-11-21
        if self._is_too_busy():
            return rate_limited().answer()
        if call.headers.get("apikey") != self.api_key:
            return unauthorized().answer()
        return handle(self, call)

    def _is_too_busy(self) -> bool:
        if self.rate_limit is None:
            return False
        now = self.clock.now()
        since = now - timedelta(seconds=self.rate_limit.window_s)
        self._recent = [at for at in self._recent if at > since]
        if len(self._recent) >= self.rate_limit.requests:
            return True
        self._recent.append(now)
        return False

    def show_transaction(self, transaction: Transaction) -> Json:
        return show_transaction(transaction, self.delivery_key)

    def show_facility(self, facility: Facility) -> Json:
        return show_facility(facility, self.ledger.today)

    def show_billing(self, billing: Billing) -> Json:
        members = self.ledger.members(billing)
        return show_billing(billing, members, self.ledger.today, self.delivery_key)


_Handler = Callable[[MfkessaiTwin, Call], Answer]


def _listed(page: Page[Item] | Refusal, show: Callable[[Item], Json]) -> Answer:
    return page.answer() if isinstance(page, Refusal) else json_answer(200, page.shown(show))


def _one(found: Mapping[str, Item], call: Call, show: Callable[[Item], Json]) -> Answer:
    wanted = call.path_ids[0]
    return json_answer(200, show(found[wanted])) if wanted in found else not_found(wanted).answer()


def _list_customers(twin: MfkessaiTwin, call: Call) -> Answer:
    return _listed(queries.customers(twin.ledger, call.query_pairs), show_customer)


def _get_customer(twin: MfkessaiTwin, call: Call) -> Answer:
    return _one(twin.ledger.customers, call, show_customer)


def _list_destinations(twin: MfkessaiTwin, call: Call) -> Answer:
    return _listed(queries.destinations(twin.ledger, call.query_pairs), show_destination)


def _get_destination(twin: MfkessaiTwin, call: Call) -> Answer:
    return _one(twin.ledger.destinations, call, show_destination)


def _list_credit_facilities(twin: MfkessaiTwin, call: Call) -> Answer:
    return _listed(queries.facilities(twin.ledger, call.query_pairs), twin.show_facility)


def _get_credit_facility(twin: MfkessaiTwin, call: Call) -> Answer:
    return _one(twin.ledger.facilities, call, twin.show_facility)


def _list_transactions(twin: MfkessaiTwin, call: Call) -> Answer:
    return _listed(queries.transactions(twin.ledger, call.query_pairs), twin.show_transaction)


def _get_transaction(twin: MfkessaiTwin, call: Call) -> Answer:
    return _one(twin.ledger.transactions, call, twin.show_transaction)


def _list_billings(twin: MfkessaiTwin, call: Call) -> Answer:
    return _listed(queries.billings(twin.ledger, call.query_pairs, is_qualified=False), twin.show_billing)


def _list_qualified_billings(twin: MfkessaiTwin, call: Call) -> Answer:
    return _listed(queries.billings(twin.ledger, call.query_pairs, is_qualified=True), twin.show_billing)


def _get_billing(twin: MfkessaiTwin, call: Call) -> Answer:
    return _one(twin.ledger.billings, call, twin.show_billing)


def _create_transaction(twin: MfkessaiTwin, call: Call) -> Answer:
    draft = _read_draft(twin, call)
    entered = twin.ledger.register(draft, twin.seller_mode) if isinstance(draft, Draft) else draft
    return _written(twin, call, "mfkessai.create_transaction", entered)


def _cancel_transaction(twin: MfkessaiTwin, call: Call) -> Answer:
    cancelled = twin.ledger.cancel(call.path_ids[0])
    return _written(twin, call, "mfkessai.cancel_transaction", cancelled)


def _read_draft(twin: MfkessaiTwin, call: Call) -> Draft | Refusal:
    if call.media_type != "application/json":
        return Refusal(400, [Problem("invalid_content_type", "application/json is needed", call.media_type)])
    if call.body_too_large:
        return Refusal(400, [Problem("invalid_json_format", "the body is too large")])
    try:
        body = parse_json(call.body)
    except ValueError as error:
        return Refusal(400, [Problem("invalid_json_format", f"not JSON: {error}")])
    if not isinstance(body, Mapping):
        return Refusal(400, [Problem("invalid_json_format", "an object is needed")])
    draft = read_transaction(body, twin.seller_mode)
    return draft if isinstance(draft, Draft) else Refusal(400, draft)


def _written(twin: MfkessaiTwin, call: Call, operation: str, result: Transaction | Refusal) -> Answer:
    if isinstance(result, Refusal):
        return result.answer()
    twin.log.record(operation, natural_key=result.draft.number, resource_id=result.id, body=call.body)
    return json_answer(200, twin.show_transaction(result))  # always 200; transactions, read 2026-11-21


_OPERATIONS: Final[Mapping[tuple[str, str], tuple[str, _Handler]]] = {
    ("GET", "/customers"): ("list_customers", _list_customers),
    ("GET", "/customers/{customer_id}"): ("get_customer", _get_customer),
    ("GET", "/destinations"): ("list_destinations", _list_destinations),
    ("GET", "/destinations/{destination_id}"): ("get_destination", _get_destination),
    ("GET", "/credit_facilities"): ("list_credit_facilities", _list_credit_facilities),
    ("GET", "/credit_facilities/{credit_facility_id}"): ("get_credit_facility", _get_credit_facility),
    ("POST", "/transactions"): ("create_transaction", _create_transaction),
    ("GET", "/transactions"): ("list_transactions", _list_transactions),
    ("GET", "/transactions/{transaction_id}"): ("get_transaction", _get_transaction),
    ("DELETE", "/transactions/{transaction_id}"): ("cancel_transaction", _cancel_transaction),
    ("GET", "/billings"): ("list_billings", _list_billings),
    # stands before the path with an id, which would take "qualified" for one
    ("GET", "/billings/qualified"): ("list_qualified_billings", _list_qualified_billings),
    ("GET", "/billings/{billing_id}"): ("get_billing", _get_billing),
}
