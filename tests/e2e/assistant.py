"""An assistant: a real MCP client of a real `seikyu serve` process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from mcp import Client, StdioServerParameters

from seikyu.models import jst_date
from seikyu.sandbox.mfkessai_data import destination_id
from seikyu.surfaces.demo.stage import Stage

CREATE = "mfkessai.create_transaction"


@asynccontextmanager
async def assistant(stage: Stage, mode: Literal["auto", "legacy"] = "auto") -> AsyncGenerator[Client]:
    """Start the server as a client does and talk to it."""
    command = stage.command
    server = StdioServerParameters(command=command[0], args=[*command[1:], "serve"], env=stage.environment)
    async with Client(server, mode=mode) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """A call that must not be an error; its structured content."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return dict(result.structured_content or {})


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """A call that must be an error; its text."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return " ".join(getattr(part, "text", "") for part in result.content)


def draft(price: object = 30_000, **changes: Any) -> dict[str, Any]:
    """Arguments of a registration for 株式会社青葉商事; 33,000 yen unless said otherwise."""
    day = jst_date(datetime.now(UTC))
    line = {
        "description": "保守料",
        "quantity": 1,
        "unit_price": price,
        "tax_rate_type": "normal_10",
        "tax_included_type": "excluded",
    }
    return {
        "destination_id": destination_id(1),
        "lines": [line],
        "date": day.isoformat(),
        "issue_date": day.isoformat(),
        "due_date": (day + timedelta(days=30)).isoformat(),
        "invoice_delivery_methods": ["email"],
    } | changes


def effects(stage: Stage, operation: str = CREATE) -> int:
    """How often the provider was really changed, by its own count."""
    return sum(effect.operation == operation for effect in stage.twins.effects)
