"""Customers (顧客) and the places their invoices go (請求先)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from seikyu.errors import Text
from seikyu.models import shown
from seikyu.providers.mfkessai.commands import LookupCustomer
from seikyu.providers.mfkessai.models import Customer, Destination, Page
from seikyu.providers.mfkessai.operations import LIST_CUSTOMERS, LIST_DESTINATIONS
from seikyu.spec import Answer, Call, Effect, Reader, Result, Tool, ToolSpec

PAGE_SIZE: Final = 200
"""MFK's largest page."""
MAX_PAGES: Final = 10
"""Pages a name is searched in, in one call."""
MAX_WITH_DESTINATIONS: Final = 10
"""Each customer's destinations are a request of their own."""
MAX_DESTINATIONS: Final = 20
_ID: Final = re.compile(r"[0-9A-Za-z]{4}-[0-9A-Za-z]{4}", re.ASCII)
_COMPANY_FORMS: Final = re.compile(r"\((?:株|有|合|同|資)\)|株式会社|有限会社|合同会社|合資会社|合名会社|[\s・,.]")


class DestinationRow(Result):
    """Where invoices go: without address, telephone and e-mail."""

    id: str
    name: str | None
    department: str | None


class CustomerRow(Result):
    """A customer."""

    id: str
    number: str | None
    name: str
    has_alert: bool
    payment_method: Literal["bank_transfer", "account_transfer"] | None
    destinations: list[DestinationRow] | None
    """None when they were not looked up."""
    more_destinations: bool


class CustomerPage(Result):
    """Customers found, newest first."""

    customers: list[CustomerRow]
    returned: int
    total: int | None
    truncated: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """Customers, how many there are in all where that is known, and where to go on."""

    customers: tuple[Customer, ...]
    total: int | None
    next_cursor: str | None


async def _lookup_customer(command: LookupCustomer, call: Call) -> Answer:
    _, reader = call.at()
    found = await _find(command, reader)
    with_destinations = len(found.customers) <= MAX_WITH_DESTINATIONS
    rows = [await _row(customer, reader if with_destinations else None) for customer in found.customers]
    page = CustomerPage(
        customers=rows,
        returned=len(rows),
        total=found.total,
        truncated=found.next_cursor is not None,
        next_cursor=found.next_cursor,
    )
    return Answer(page, _sentence(page))


async def _find(command: LookupCustomer, reader: Reader) -> Found:
    query = (command.query or "").strip()
    if not query:
        page = await _page(reader, limit=command.limit, cursor=command.cursor)
        return Found(page.items, page.total, page.next_cursor)
    exact = await _exact(query, reader) if command.cursor is None else ()
    return Found(exact, len(exact), None) if exact else await _by_name(query, command, reader)


async def _exact(query: str, reader: Reader) -> tuple[Customer, ...]:
    """The customer whose id or number is `query`."""
    keys = ("ids", "number") if _ID.fullmatch(query) else ("number",)
    pages = [await reader.read(LIST_CUSTOMERS, query=[(key, query)]) for key in keys]
    return tuple(dict.fromkeys(each for page in pages for each in page.items if query in {each.id, each.number}))


async def _by_name(query: str, command: LookupCustomer, reader: Reader) -> Found:
    """MFK cannot search names, so its pages are read and compared here, up to `MAX_PAGES`."""
    cursor, found, seen = command.cursor, list[Customer](), set[str | None]()
    while len(seen) < MAX_PAGES and cursor not in seen:  # a cursor that comes again would lead in a circle
        seen.add(cursor)
        page = await _page(reader, limit=PAGE_SIZE, cursor=cursor)
        for customer in page.items:
            if is_named(customer.name, query) and customer not in found:
                found.append(customer)
            if len(found) == command.limit:
                is_last = customer is page.items[-1] and page.next_cursor is None
                return _names_found(found, command, None if is_last else customer.id)
        cursor = page.next_cursor
        if cursor is None:
            break
    return _names_found(found, command, cursor)


def _names_found(found: list[Customer], command: LookupCustomer, cursor: str | None) -> Found:
    has_seen_all = command.cursor is None and cursor is None
    return Found(tuple(found), len(found) if has_seen_all else None, cursor)


async def _page(reader: Reader, *, limit: int, cursor: str | None) -> Page[Customer]:
    after = [] if cursor is None else [("after", cursor)]
    return await reader.read(LIST_CUSTOMERS, query=[("limit", str(limit)), *after])


def is_named(name: str, query: str) -> bool:
    """Whether `query` is part of `name`, with or without legal form, blanks, and differences of width and case."""
    return plain_name(query) in plain_name(name) or _folded(query) in _folded(name)


def plain_name(name: str) -> str:
    """A company's name as it is compared; one that is nothing but a legal form keeps it."""
    folded = _folded(name)
    return _COMPANY_FORMS.sub("", folded) or folded


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


async def _row(customer: Customer, reader: Reader | None) -> CustomerRow:
    destinations = None if reader is None else await _destinations(customer, reader)
    return CustomerRow(
        id=customer.id,
        number=_shown(customer.number),
        name=shown(customer.name, 100),
        has_alert=customer.has_alert,
        payment_method=customer.payment_method.kind if customer.payment_method else None,
        destinations=None if destinations is None else [_destination_row(each) for each in destinations.items],
        more_destinations=destinations is not None and destinations.next_cursor is not None,
    )


async def _destinations(customer: Customer, reader: Reader) -> Page[Destination]:
    query = [("customer_id", customer.id), ("limit", str(MAX_DESTINATIONS))]
    return await reader.read(LIST_DESTINATIONS, query=query)


def _destination_row(destination: Destination) -> DestinationRow:
    return DestinationRow(id=destination.id, name=_shown(destination.name), department=_shown(destination.department))


def _shown(text: str | None) -> str | None:
    return None if text is None else shown(text, 100)


def _sentence(page: CustomerPage) -> Text:
    found = Text(f"顧客は{page.returned}件です。", f"Customers: {page.returned}.")
    if page.truncated:
        found += Text("続きは next_cursor で取得できます。", "There are more: pass next_cursor.")
    if any(row.destinations is None for row in page.customers):
        found += Text("請求先は10件以下に絞ると返します。", "Destinations come when 10 or fewer are asked for.")
    return found


TOOLS: tuple[Tool, ...] = (
    ToolSpec(
        name="lookup_customer",
        title="取引先を検索",
        effect=Effect.READ,
        command=LookupCustomer,
        result=CustomerPage,
        toolset="mfkessai",
        provider="mfkessai",
        run=_lookup_customer,
    ),
)
