"""`seikyu audit`: the tamper-evident log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from seikyu.errors import ConfigurationError, Text
from seikyu.gate import audit as audit_log
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House

if TYPE_CHECKING:
    from seikyu.gate.anchors import AnchorLines

_JSON = click.option("--json", "as_json", is_flag=True)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

FAULTS_SHOWN: Final = 20
"""In the terminal; `--json` has them all."""


@click.group()
def audit() -> None:
    """監査記録 / The tamper-evident log."""


@audit.command()
@click.option("--anchors", "copy", type=_FILE, help="別に保管した控え / a copy of the anchors that you keep elsewhere")
@_JSON
@click.pass_obj
def verify(house: House, copy: Path | None, *, as_json: bool) -> None:
    """鎖を検証 / Check every record, and hold every anchor against them."""
    anchored = _read_anchors(copy or house.settings.anchors_file)
    report = audit_log.verify(house.rooms().store, anchored)
    if as_json:
        said = [fault.say(house.lang) for fault in report.faults]
        counted = {"records": report.rows, "head": report.head, "anchors": report.anchors}
        screen.print_json({**counted, "fault": report.fault, "faults": said})
    else:
        _tell(house, report)
    if report.faults:
        raise SystemExit(2)


def _read_anchors(path: Path) -> AnchorLines:
    from seikyu.gate.anchors import AnchorFile

    try:
        return AnchorFile(path).read()
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        Text(
            f"控えのファイル {path} を使えません({error.strerror})。",
            f"The anchor file {path} cannot be used ({error.strerror}).",
        ),
        Text("SEIKYU_AUDIT_ANCHORS と権限を確認してください。", "Check SEIKYU_AUDIT_ANCHORS and its permissions."),
    )


def _tell(house: House, report: audit_log.AuditReport) -> None:
    for fault in report.faults[:FAULTS_SHOWN]:
        said = Text(f"監査記録に異常: {fault.ja}。", f"The log is not as it was written: {fault.en}.")
        screen.say(said, house.lang, "bold red")
    rest = len(report.faults) - FAULTS_SHOWN
    if rest > 0:
        screen.say(Text(f"ほか{rest}件。--json ですべて表示します。", f"And {rest} more: see --json."), house.lang)
    if not report.faults:
        said = Text(f"監査記録 {report.rows}件、改ざんなし。", f"{report.rows} records, the chain holds.")
        screen.say(said, house.lang, "bold green")
    screen.say(Text(f"照合した控え {report.anchors}件", f"{report.anchors} anchors checked"), house.lang)
    screen.say(Text(f"先頭ハッシュ {report.head}", f"head {report.head}"), house.lang, "dim")


@audit.command()
@_JSON
@click.pass_obj
def anchor(house: House, *, as_json: bool) -> None:
    """控えを追記 / Write down, outside the database, what the head of the log is now."""
    try:
        kept = house.rooms().anchors.anchor()
    except OSError as error:
        raise _unusable(house.settings.anchors_file, error) from error
    if as_json:
        screen.print_json(None if kept is None else kept.model_dump())
    elif kept is None:
        screen.say(Text("監査記録はまだありません。", "The log is empty."), house.lang)
    else:
        said = Text(f"監査記録 {kept.records}件の控えを追記しました。", f"Anchored {kept.records} records.")
        screen.say(said, house.lang, "bold green")
        screen.say(Text(f"先頭ハッシュ {kept.head}", f"head {kept.head}"), house.lang, "dim")
