"""`seikyu doctor`: looks at everything, changes nothing, and says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from seikyu import __version__
from seikyu.errors import Lang, Text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.lines import lines
from seikyu.surfaces.cli.options import AS_JSON
from seikyu.surfaces.doctor.findings import Finding, Level
from seikyu.surfaces.doctor.patient import Patient
from seikyu.surfaces.doctor.rounds import examine

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as Styled

FAULTY: Final = 1
"""Exit code when there is any fault; warnings and notes leave it 0."""

_ROOMS: Final = {
    "configuration": Text("設定", "Configuration"),
    "policy": Text("方針", "Policy"),
    "key": Text("マスターキー", "Master key"),
    "files": Text("ファイル", "Files"),
    "database": Text("データベース", "Database"),
    "log": Text("監査記録", "Audit log"),
    "clock": Text("時計", "Clock"),
    "gate": Text("緊急停止", "Kill switch"),
    "actions": Text("申請", "Actions"),
    "outbox": Text("通知", "Notices"),
    "operators": Text("操作者", "Operators"),
    "connections": Text("接続", "Connections"),
    "slack": Text("Slack", "Slack"),
    "doors": Text("入口", "Doors"),
    "clients": Text("クライアント", "Clients"),
    "machine": Text("環境", "Machine"),
}
"""In the order of the rounds; a check that failed as a whole stands in the room of its name."""

_SIGNS: Final = {Level.OK: "✓", Level.NOTE: "·", Level.WARNING: "!", Level.FAULT: "✗"}
_STYLES: Final = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.FAULT: "bold red"}
_LEVELS: Final = {
    Level.FAULT: Text("異常", "fault"),
    Level.WARNING: Text("注意", "warning"),
    Level.NOTE: Text("参考", "note"),
    Level.OK: Text("正常", "ok"),
}


@click.command()
@click.option("--offline", is_flag=True, help="ネットワークを使わない / make no network call")
@AS_JSON
@click.pass_obj
def doctor(patient: Patient, *, offline: bool, as_json: bool) -> None:
    """全体を調べる / Look at everything, change nothing; exit code 1 when there is a fault, else 0."""
    found = _in_order(examine(patient, is_offline=offline))
    if as_json:
        screen.print_json(_json(patient, found, is_offline=offline))
    elif screen.console().is_terminal:
        _draw(screen.console(), found, patient.lang)
    else:
        _list(screen.console(), found, patient.lang)
    raise SystemExit(FAULTY if any(each.level is Level.FAULT for each in found) else 0)


def _in_order(found: Sequence[Finding]) -> list[Finding]:
    rooms = list(_ROOMS)
    return sorted(found, key=lambda each: rooms.index(each.room) if each.room in rooms else len(rooms))


def _json(patient: Patient, found: Sequence[Finding], *, is_offline: bool) -> dict[str, Any]:
    return {
        "seikyu": __version__,
        "home": str(patient.settings.home),
        "config": str(patient.settings.config),
        "offline": is_offline,
        "healthy": not any(each.level is Level.FAULT for each in found),
        "counts": {level.value: sum(each.level is level for each in found) for level in Level},
        "findings": [_finding_json(each, patient.lang) for each in found],
    }


def _finding_json(finding: Finding, lang: Lang) -> dict[str, Any]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "about": finding.about or None,
        "what": finding.what.say(lang),
        "next_step": finding.next_step.say(lang) or None,
    }


def _draw(out: Console, found: Sequence[Finding], lang: Lang) -> None:
    """For a window, however narrow: the signs in a column of their own, what to do below what is."""
    from rich.text import Text as Styled

    room = ""
    for finding in found:
        if finding.room != room:
            room = finding.room
            out.print(Styled(_title(room, lang), style="bold"))
        for line in _lines(finding, lang, out.width - _MARGIN):
            out.print(line)
    out.print()
    for part in lines(_summary(found, lang), out.width):
        out.print(Styled(part, style=_STYLES[_worst(found)]))


_ARROW: Final = "→ "
_MARGIN: Final = 3
"""Columns: a blank, the sign, a blank."""


def _lines(finding: Finding, lang: Lang, width: int) -> list[Styled]:
    from rich.text import Text as Styled

    is_calm = finding.level in {Level.OK, Level.NOTE}
    what = [(line, "" if is_calm else "bold") for line in lines(finding.what.say(lang), width)]
    steps = enumerate(lines(finding.next_step.say(lang), width - len(_ARROW)))
    then = [(f"{'  ' if at else _ARROW}{line}", "dim" if is_calm else "") for at, line in steps]
    sign = Styled(f" {_SIGNS[finding.level]} ", style=_STYLES[finding.level])
    said = [*what, *then]
    return [Styled.assemble(sign if at == 0 else "   ", part) for at, part in enumerate(said)]


def _list(out: Console, found: Sequence[Finding], lang: Lang) -> None:
    """For a pipe: a line for each, its level and name first."""
    for finding in found:
        said = " ".join(part for part in (finding.what.say(lang), finding.next_step.say(lang)) if part)
        out.print(f"{finding.level.value:<8}{finding.check:<27}{said}")
    out.print(_summary(found, lang))


def _title(room: str, lang: Lang) -> str:
    return _ROOMS[room].say(lang) if room in _ROOMS else room


def _worst(found: Sequence[Finding]) -> Level:
    """What colours the last line; notes leave it green."""
    levels = {each.level for each in found}
    return next((level for level in (Level.FAULT, Level.WARNING) if level in levels), Level.OK)


def _summary(found: Sequence[Finding], lang: Lang) -> str:
    counts = {level: sum(each.level is level for each in found) for level in _LEVELS}
    parts = [_count(level, count) for level, count in counts.items() if count]
    listed = Text("、".join(part.ja for part in parts) + "。", ", ".join(part.en for part in parts) + ".")
    well = Text("", "") if counts[Level.FAULT] else Text("異常はありません: ", "Nothing is wrong:")
    return (well + listed).say(lang)


def _count(level: Level, count: int) -> Text:
    name = _LEVELS[level]
    plural = "s" if count > 1 and level is not Level.OK else ""
    return Text(f"{name.ja}{count}件", f"{count} {name.en}{plural}")
