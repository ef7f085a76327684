"""`seikyu demo --keep`: everything stays up until Ctrl+C."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing
from typing import Final

import anyio
from rich.table import Table
from rich.text import Text as Styled

from seikyu.errors import Text
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, CommandFailed, Stage
from seikyu.surfaces.demo.telling import Teller

PREFERRED_PORT: Final = 8787


def _free_port() -> int:
    """8787 when it is free, any other otherwise."""
    for port in (PREFERRED_PORT, 0):
        with closing(socket.socket()) as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(trial.getsockname()[1])
    raise CommandFailed("no free port on 127.0.0.1")


async def keep_running(stage: Stage, teller: Teller) -> None:
    """Serve MCP and the approval page beside the twins, and say how to use them, until interrupted."""
    port = _free_port()
    page = f"http://127.0.0.1:{port}/approvals"
    environment = stage.environment | {"SEIKYU_APPROVALS_URL": page}
    command = [*stage.command, "serve", "--http", f"127.0.0.1:{port}"]
    async with await anyio.open_process(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=None, stderr=None
    ) as server:
        try:
            _explain(stage, teller, port, page)
            await server.wait()
            raise CommandFailed(f"the server ended with {server.returncode}")
        finally:
            if server.returncode is None:
                server.terminate()


def _explain(stage: Stage, teller: Teller, port: int, page: str) -> None:
    variables = " ".join(
        f"{name}={value}" for name, value in stage.environment.items() if name in {"SEIKYU_HOME", "SEIKYU_CONFIG"}
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    rows = [
        (Text("MCP", "MCP"), f"http://127.0.0.1:{port}/mcp"),
        (Text("承認画面", "Approval page"), page),
        (Text("操作者と合言葉", "Operator, passphrase"), f"{OPERATOR} / {PASSPHRASE}"),
        (Text("提供元の記録", "The providers' log"), f"{stage.twins.origin}/_twin/effects"),
        (Text("端末から", "In a terminal"), f"{variables} seikyu actions"),
        (Text("終わるには", "To stop"), "Ctrl+C"),
    ]
    for label, value in rows:
        grid.add_row(label.say(teller.lang), Styled(value))
    teller.show(grid)
