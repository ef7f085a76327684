"""The twins on a real socket, with a clock that stands at Wednesday 18 November 2026, noon in Japan."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from seikyu.sandbox.clock import TwinClock
from seikyu.sandbox.mfkessai_data import API_KEY, destination_id
from seikyu.sandbox.twins import Twins, running_twins

Body = dict[str, Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def twins() -> AsyncGenerator[Twins]:
    async with running_twins(clock=TwinClock(datetime(2026, 11, 18, 3, tzinfo=UTC))) as running:
        yield running


@pytest.fixture
async def kessai(twins: Twins) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=twins.mfkessai.base_url,
        headers={"apikey": API_KEY},
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
async def browser(twins: Twins) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=twins.origin, trust_env=False) as client:
        yield client


@pytest.fixture
def sale() -> Callable[..., Body]:
    """Make a body that Kessai takes: 11,000 yen for 青葉商事, with whatever the test wants otherwise."""

    def make(**changes: object) -> Body:
        body: Body = {
            "number": "INV-2026-0001",
            "destination_id": destination_id(1),
            "date": "2026-11-18",
            "issue_date": "2026-11-20",
            "due_date": "2026-12-31",
            "amount": 11_000,
            "amounts_per_tax_rate_type": [{"tax_rate_type": "normal_10", "amount": 11_000}],
            "transaction_details": [
                {
                    "description": "コンサルティング",
                    "unit_price": 10_000,
                    "quantity": 1,
                    "amount": 10_000,
                    "tax_rate_type": "normal_10",
                    "tax_included_type": "excluded",
                },
            ],
            "invoice_delivery_methods": ["email"],
        }
        return {name: value for name, value in {**body, **changes}.items() if value is not ...}

    return make
