"""`seikyu tools`: what a model sees."""

from __future__ import annotations

from collections.abc import Sequence

import click

from seikyu.errors import Text
from seikyu.spec import Tool
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON


@click.command(name="tools")
@AS_JSON
@click.option("--markdown", is_flag=True, help="README の表 / the table of the README")
@click.pass_obj
def list_tools(house: House, *, as_json: bool, markdown: bool) -> None:
    """道具の一覧 / The tools a model sees."""
    if as_json:
        screen.print_json(house.listed_tools())
        return
    if markdown:
        click.echo(tool_table(house.tools))
        return
    rows = [(tool.name, tool.title, tool.toolset, tool.effect.value) for tool in house.tools]
    screen.table(Text("道具", "Tools").say(house.lang), ("name", "title", "toolset", "effect"), rows)


def tool_table(tools: Sequence[Tool]) -> str:
    """The README's table of tools, one row a tool."""
    lines = ["| tool | 名称 | toolset | effect | what it does |", "|---|---|---|---|---|"]
    for tool in tools:
        first = " ".join((tool.command.__doc__ or "").split()).split(". ")[0].rstrip(".")
        lines.append(f"| `{tool.name}` | {tool.title} | {tool.toolset} | {tool.effect.value} | {first}. |")
    return "\n".join(lines)
