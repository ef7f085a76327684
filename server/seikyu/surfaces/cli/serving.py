"""`seikyu serve`, `sandbox`, `demo`: what runs until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType

import click

from seikyu.errors import NOTHING, ConfigurationError, InvalidArguments, Text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House

IN_DOUBT = 3
"""Exit code of a server that ended with writes whose outcome is not known; `seikyu reconcile` looks them up."""

INTERRUPTED = 130
"""Exit code after Ctrl+C, as shells have it."""


@click.command()
@click.option("--http", "address", metavar="HOST:PORT", help="HTTP で待ち受け / MCP at /mcp, the page at /approvals")
@click.pass_obj
def serve(house: House, address: str | None) -> None:
    """MCP サーバー / The MCP server: stdin and stdout, or HTTP."""
    if address is None:
        house.serve_stdio()
        _end(house)
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:  # noqa: PLR2004 - TCP
        raise InvalidArguments(
            Text(f"{address} は HOST:PORT の形ではありません。", f"{address} is not HOST:PORT."),
            Text("例: --http 127.0.0.1:8787", "For example --http 127.0.0.1:8787."),
        )
    house.serve_http(host.strip("[]"), int(port))
    _end(house)


def _end(house: House) -> None:
    """Let whoever started the server know by its exit code when it was stopped in the middle of a write."""
    if house.in_doubt:
        raise SystemExit(IN_DOUBT)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8790,
    show_default=True,
    help="ポート。0 なら空いているもの / the port; 0 takes a free one",
)
@click.pass_obj
def sandbox(house: House, port: int) -> None:
    """練習用の提供元 / Stand-ins of the providers on this machine, for rehearsals."""
    from seikyu.sandbox.twins import serve_twins

    try:
        serve_twins(port, ready=lambda twins: screen.say(_twins_at(twins.origin), house.lang))
    except OSError as error:
        raise ConfigurationError(
            Text(f"ポート {port} で待ち受けできません。", f"The stand-ins cannot listen at port {port}."),
            Text("--port で別のポートを指定してください。", "Choose another one with --port."),
            written=NOTHING,
        ) from error


def _twins_at(origin: str) -> Text:
    roots = ("mfkessai/v2", "invox", "misoca", "freee")
    lines = "\n".join(f'base_url = "{origin}/{root}"' for root in roots)
    return Text(f"練習用の提供元: {origin}（Ctrl+C で終了）\n{lines}", f"Twins at {origin}, Ctrl+C ends.\n{lines}")


def _stop_as_after_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    """Told to stop by another program, the demo clears up as when a person stops it."""
    signal.raise_signal(signal.SIGINT)


@click.command()
@click.option("--keep", is_flag=True, help="終わっても動かし続ける / leave everything running to play with")
@click.pass_obj
def demo(house: House, *, keep: bool) -> None:
    """一通り見る / The whole story in a minute, on this machine only."""
    from seikyu.surfaces.demo.story import play

    signal.signal(signal.SIGTERM, _stop_as_after_ctrl_c)
    try:
        code = asyncio.run(play(house.lang, keep=keep))
    except KeyboardInterrupt:
        code = INTERRUPTED
    raise SystemExit(code)
