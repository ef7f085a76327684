"""A pipeline with two tools and no gate behind it, and the smallest program that serves it."""

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from pydantic import Field

from seikyu.spec import Command, Effect, Principal, Result, Tool, ToolAnswer, ToolSpec
from seikyu.surfaces.mcp.server import Context, build_server

AGENT = Principal(requester="sato", surface="test", lang="en")


class LookUp(Command):
    """Find a customer by name.

    Use register_invoice to write.
    """

    name: str = Field(description="Part of the customer's name.", min_length=1)
    limit: int | None = Field(default=None, ge=1, le=50)


class Found(Result):
    name: str | None
    tags: list[str | None]
    count: int


class Register(Command):
    """Propose an invoice."""

    amount: int = Field(ge=1)


class Proposed(Result):
    action_id: str
    note: str | None = None


LOOK_UP: Tool = ToolSpec(
    name="lookup_customer",
    title="取引先を検索",
    effect=Effect.READ,
    command=LookUp,
    result=Found,
    toolset="test",
    provider="mfkessai",
)
REGISTER: Tool = ToolSpec(
    name="register_invoice",
    title="請求を登録",
    effect=Effect.WRITE,
    command=Register,
    result=Proposed,
    toolset="test",
    provider="mfkessai",
)


@dataclass
class FakePipeline:
    """Answers every call; `calls` says who called what. Some names misbehave: `boom`, `slow`, `print`."""

    tools: Sequence[Tool] = (LOOK_UP, REGISTER)
    calls: list[tuple[Principal, str, Mapping[str, object] | None]] = field(
        default_factory=list[tuple[Principal, str, Mapping[str, object] | None]]
    )

    async def call(self, principal: Principal, name: str, arguments: Mapping[str, object] | None) -> ToolAnswer:
        self.calls.append((principal, name, arguments))
        match name:
            case "lookup_customer":
                found = Found(name=None, tags=["a", None], count=1)
                return ToolAnswer(found.model_dump(mode="json"), "One customer found.")
            case "register_invoice":
                proposed = Proposed(action_id="act_1")
                return ToolAnswer(proposed.model_dump(mode="json"), "Waiting for approval.")
            case "boom":
                raise RuntimeError("secret-token-123")
            case "slow":
                await anyio.sleep_forever()
            case "print":
                print('{"jsonrpc":"2.0","id":99,"result":{"forged":true}}', flush=True)  # noqa: T201
            case _:
                pass
        return ToolAnswer(None, f"There is no tool {name}.", is_error=True, code="not_found")


def principal_of(_: Context) -> Principal:
    return AGENT


def build(pipeline: FakePipeline) -> Server[Any]:
    """The real server over `pipeline`, saying on stderr when its lifespan begins and ends."""
    server = build_server(pipeline, version="1.2.3", principal_of=principal_of)

    @asynccontextmanager
    async def lifespan(_: Server[Any]) -> AsyncGenerator[None, None]:
        print("lifespan begins", file=sys.stderr, flush=True)  # noqa: T201
        try:
            yield
        finally:
            print("lifespan ends", file=sys.stderr, flush=True)  # noqa: T201

    server.lifespan = lifespan
    return server
