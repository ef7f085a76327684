"""Money Forward Kessai as the tests of its client and its tools need it: answers to order, and what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel

from seikyu.providers.bodies import Body
from seikyu.providers.http import HttpAnswer, HttpEdge, Method, Written
from seikyu.spec import (
    ActionView,
    Call,
    Connection,
    Environment,
    Fence,
    Operation,
    Principal,
    ProviderRequest,
    StoredFile,
)

AnswerT = TypeVar("AnswerT", bound=BaseModel)
Json = dict[str, Any]
NOW = datetime(2026, 11, 18, 3, 0, tzinfo=UTC)
TODAY = date(2026, 11, 18)
KEY = "sandbox-mfk-key"


def connection(environment: Environment = "sandbox", **options: str) -> Connection:
    return Connection("mfk-main", "mfkessai", environment, "Seikyu", "http://127.0.0.1:1/v2", options)


def transaction(**changes: Any) -> Json:
    """A transaction as MFK prints it, after `registration()`."""
    return {
        "id": "7679-YW36",
        "object": "transaction",
        "number": "INV-1",
        "status": "passed",
        "customer_id": "9PNG-VYR6",
        "destination_id": "WNAV-37R6",
        "amount": 5440,
        "amounts_per_tax_rate_type": [
            {"amount": 2200, "tax_rate_type": "normal_10"},
            {"amount": 3240, "tax_rate_type": "reduced_8"},
        ],
        "date": "2026-11-10",
        "issue_date": "2026-11-20",
        "due_date": "2026-11-30",
        "invoice_delivery_method": ["posting", "email"],
        "transaction_details": [
            _printed("商品A", 3000, 3, 1000, "normal_10"),
            _printed("商品B", 3000, 3, 1000, "reduced_8"),
            _printed("商品A 返品", -1000, -1, 1000, "normal_10"),
        ],
        "billing_id": "",
        "canceled_at": None,
        **changes,
    }


def _printed(description: str, amount: int, quantity: int, unit_price: int, rate: str) -> Json:
    return {
        "description": description,
        "amount": amount,
        "quantity": quantity,
        "unit_price": unit_price,
        "tax_rate_type": rate,
        "tax_included_type": "excluded",
    }


def _sent(description: str, amount: str, quantity: str, unit_price: str, rate: str) -> Json:
    return {
        "description": description,
        "quantity_str": quantity,
        "unit_price_str": unit_price,
        "amount_str": amount,
        "tax_rate_type": rate,
        "tax_included_type": "excluded",
    }


def registration(*, without: Sequence[str] = (), **changes: Any) -> ProviderRequest:
    """The request that `transaction()` answers: a return is sent with its sign in the price."""
    body: Json = {
        "number": "INV-1",
        "destination_id": "WNAV-37R6",
        "date": "2026-11-10",
        "issue_date": "2026-11-20",
        "due_date": "2026-11-30",
        "invoice_delivery_methods": ["email", "posting"],
        "amount": 5440,
        "amounts_per_tax_rate_type": [
            {"tax_rate_type": "normal_10", "amount": 2200},
            {"tax_rate_type": "reduced_8", "amount": 3240},
        ],
        "transaction_details": [
            _sent("商品A", "3000", "3", "1000", "normal_10"),
            _sent("商品B", "3000", "3", "1000", "reduced_8"),
            _sent("商品A 返品", "-1000", "1", "-1000", "normal_10"),
        ],
        **changes,
    }
    kept = {name: value for name, value in body.items() if name not in without}
    return ProviderRequest(operation="mfkessai.create_transaction", body=kept)


def registration_without_amounts() -> ProviderRequest:
    """The same where MFK computes the amounts: invoices made per billing."""
    return registration(without=("amount", "amounts_per_tax_rate_type"))


CANCELLATION = ProviderRequest(operation="mfkessai.cancel_transaction", path={"transaction_id": "7679-YW36"})


@dataclass
class Key:
    """The credential of a connection that is connected."""

    async def header(self, *, refused: str | None = None) -> tuple[str, str]:
        _ = refused
        return "apikey", KEY


def no_file(sha256: str) -> BinaryIO:
    raise AssertionError(f"MFK asked for the document {sha256}")


async def open_fence() -> None:
    """The claim is ours."""


class FakeEdge(HttpEdge):
    """Gives the answers it was made with, in turn, and keeps what was asked."""

    def __init__(self, *answers: Written) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes | None] = []

    async def read(self, url: str, *, headers: Mapping[str, str], query: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
        self.asked.append(("GET", url + "".join(f" {name}={value}" for name, value in query), dict(headers)))
        answer = self.answers.pop(0)
        assert isinstance(answer, HttpAnswer)
        return answer

    async def write(
        self, method: Method, url: str, *, headers: Mapping[str, str], body: Body | None, fence: Fence
    ) -> Written:
        await fence()
        self.asked.append((method, url, dict(headers)))
        self.bodies.append(body.head if body else None)
        return self.answers.pop(0)


Told = BaseModel | Exception | Mapping[str, Any]


@dataclass
class FakeReader:
    """Answers by the name of the operation; a function sees path and query."""

    answers: Mapping[str, Told | Callable[[dict[str, str], dict[str, str]], Told]]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])

    async def read(
        self,
        operation: Operation[AnswerT],
        *,
        path: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> AnswerT:
        name = operation.name.removeprefix("mfkessai.")
        self.asked.append((name, {**(path or {}), **dict(query)}))
        told = self.answers[name]
        if callable(told):
            told = told(dict(path or {}), dict(query))
        if isinstance(told, Exception):
            raise told
        return operation.answer.model_validate(told)


class NoDesk:
    """For tools that look at no action."""

    async def get(self, action_id: str) -> ActionView:
        raise AssertionError(action_id)

    async def list(
        self, *, status: str | None, limit: int, cursor: str | None
    ) -> tuple[list[ActionView], int, str | None]:
        raise AssertionError((status, limit, cursor))

    async def withdraw(self, action_id: str) -> ActionView:
        raise AssertionError(action_id)

    async def revise(self, action_id: str, changes: Mapping[str, object]) -> ActionView:
        raise AssertionError


class NoInbox:
    """For tools that take no document."""

    def take(self, path: str) -> StoredFile:
        raise AssertionError(path)


def call(reader: FakeReader, at: Connection | None = None) -> Call:
    return Call(
        principal=Principal("tanaka", "test"),
        action_id="act-1",
        now=NOW,
        today=TODAY,
        desk=NoDesk(),
        inbox=NoInbox(),
        connections=(),
        target=at or connection(),
        reader=reader,
    )


def page(*items: Json, next_cursor: str | None = None, total: int | None = None) -> Json:
    count = len(items) if total is None else total
    return {
        "items": list(items),
        "object": "list",
        "pagination": {"end": next_cursor or "", "has_next": next_cursor is not None, "total": count},
    }
