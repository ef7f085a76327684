"""Which accounts there are."""

from __future__ import annotations

from seikyu.errors import Text
from seikyu.spec import Answer, Call, Command, ConnectionView, Effect, Result, Tool, ToolSpec


class ListConnections(Command):
    """List the accounts, for the `connection` argument of the other tools."""


class ConnectionRow(Result):
    """One account."""

    name: str
    provider: str
    environment: str
    company: str
    is_connected: bool


class Connections(Result):
    """Every account, in the order of the configuration."""

    connections: list[ConnectionRow]
    returned: int
    truncated: bool


def _row(view: ConnectionView) -> ConnectionRow:
    row = view.connection
    return ConnectionRow(
        name=row.name,
        provider=row.provider,
        environment=row.environment,
        company=row.company,
        is_connected=view.has_secret,
    )


async def _list_connections(_command: ListConnections, call: Call) -> Answer:
    rows = [_row(view) for view in call.connections]
    result = Connections(connections=rows, returned=len(rows), truncated=False)
    said = Text(f"接続は{len(rows)}件です。", f"Connections: {len(rows)}.")
    return Answer(result, said + _without_tools(rows))


def _without_tools(rows: list[ConnectionRow]) -> Text:
    """Which of them no tool uses: an account of freee can be connected before there is a tool for it."""
    from seikyu_tools import TOOLS as ALL  # the whole table, of which this file is a part

    used = {tool.toolset for tool in ALL}
    idle = ", ".join(row.name for row in rows if row.provider not in used)
    if not idle:
        return Text("", "")
    return Text(f"{idle} を使う道具はまだありません。", f"No tool uses {idle} yet.")


TOOLS: tuple[Tool, ...] = (
    ToolSpec(
        name="list_connections",
        title="接続の一覧",
        effect=Effect.READ,
        command=ListConnections,
        result=Connections,
        toolset="actions",
        run=_list_connections,
    ),
)
