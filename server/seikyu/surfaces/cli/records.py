"""`seikyu audit`, `policy`, `tools`: what can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from seikyu.errors import ConfigurationError, Text
from seikyu.gate import audit as audit_log
from seikyu.gate.policy import parse_policy
from seikyu.spec import Tool
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House


@click.group()
def audit() -> None:
    """監査記録 / The tamper-evident log."""


@audit.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def verify(house: House, *, as_json: bool) -> None:
    """鎖を検証 / Check every record against the one before it."""
    report = audit_log.verify(house.rooms().store)
    if as_json:
        screen.print_json({"records": report.rows, "head": report.head, "fault": report.fault})
    elif report.fault is None:
        said = Text(f"監査記録 {report.rows}件、改ざんなし。", f"{report.rows} records, the chain holds.")
        screen.say(said, house.lang, "bold green")
        screen.say(Text(f"先頭ハッシュ {report.head}", f"head {report.head}"), house.lang, "dim")
    else:
        screen.say(
            Text(f"監査記録に異常: {report.fault}", f"The log is not as it was written: {report.fault}."),
            house.lang,
            "bold red",
        )
    if report.fault is not None:
        raise SystemExit(2)


@click.group()
def policy() -> None:
    """方針 / The guardrails."""


@policy.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.pass_obj
def check(house: House, file: str | None) -> None:
    """方針を検査 / Read the policy and try its examples."""
    path = house.settings.policy_file if file is None else Path(file)
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(Text(f"{path} を読めません。", f"{path} cannot be read.")) from error
    found = parse_policy(source, str(path), [row.name for row in house.settings.connections])
    rules = len(found.file.deny) + len(found.file.ask) + len(found.file.allow)
    said = Text(
        f"規則 {rules}件、例 {len(found.file.example)}件、すべて成り立ちます。",
        f"{rules} rules, {len(found.file.example)} examples, all hold.",
    )
    screen.say(said, house.lang, "bold green")


@click.command(name="tools")
@click.option("--json", "as_json", is_flag=True)
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
