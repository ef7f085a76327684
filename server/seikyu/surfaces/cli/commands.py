"""The command line as a whole: which commands there are, and how their failures look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from seikyu import __version__
from seikyu.errors import SeikyuError
from seikyu.surfaces.cli import accounts, decisions, operators, records, screen, serving
from seikyu.surfaces.cli.house import House


class Seikyu(click.Group):
    """The `seikyu` command; an error of ours is one clear message and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except SeikyuError as error:
            screen.complain(error, getattr(ctx.obj, "lang", "ja"))
            raise SystemExit(1) from None


def build(open_house: Callable[[], House]) -> click.Group:
    """The command group; `open_house` reads the settings when a command runs."""

    @click.group(cls=Seikyu, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(__version__, prog_name="seikyu")
    @click.pass_context
    def seikyu(ctx: click.Context) -> None:
        """請求 Seikyu: アシスタントに請求の手を、印鑑は人の手に / hands for invoicing, the seal in your hand."""
        if ctx.obj is None:
            ctx.obj = open_house()

    groups = (operators.group, records.audit, records.policy, records.list_tools)
    for command in (*serving.COMMANDS, *accounts.COMMANDS, *groups, *decisions.COMMANDS):
        seikyu.add_command(command)
    return seikyu
