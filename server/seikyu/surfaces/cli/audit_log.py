"""`seikyu audit`: the tamper-evident log."""

from __future__ import annotations

import click

from seikyu.errors import Text
from seikyu.gate import audit as audit_log
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
