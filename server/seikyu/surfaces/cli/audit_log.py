"""`seikyu audit`: the tamper-evident log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from seikyu.errors import ConfigurationError, Text
from seikyu.gate import audit as audit_log
from seikyu.gate.actions import STATE_TEXT, Action, State
from seikyu.gate.pardons import pardons
from seikyu.gate.search import Wanted
from seikyu.models import jst_date, shown, yen_text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON

if TYPE_CHECKING:
    from seikyu.gate.anchors import AnchorLines
    from seikyu.gate.retention import Retention
    from seikyu.gate.search import Hits

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_DAY = click.DateTime(formats=["%Y-%m-%d"])
_FROM = click.option("--from", "day_from", type=_DAY, help="取引年月日（から） / first day of business")
_TO = click.option("--to", "day_to", type=_DAY, help="取引年月日（まで） / last day of business")
_YEN = click.IntRange(min=0)

FAULTS_SHOWN: Final = 20
"""In the terminal; `--json` has them all."""


@click.group()
def audit() -> None:
    """監査記録 / The tamper-evident log."""


@audit.command()
@click.option("--anchors", "copy", type=_FILE, help="別に保管した控え / a copy of the anchors that you keep elsewhere")
@AS_JSON
@click.pass_obj
def verify(house: House, copy: Path | None, *, as_json: bool) -> None:
    """鎖を検証 / Check every record, and hold every anchor against them."""
    anchored = _read_anchors(copy or house.settings.anchors_file)
    report, behind = audit_log.verify(house.rooms().store, anchored, pardons), _behind(house)
    if as_json:
        said = [fault.say(house.lang) for fault in report.faults]
        known = [one.say(house.lang) for one in report.acknowledged]
        counted = {"records": report.rows, "head": report.head, "anchors": report.anchors, "anchors_behind": behind}
        screen.print_json({**counted, "fault": report.fault, "faults": said, "acknowledged": known})
    else:
        _tell(house, report)
        _tell_behind(house, behind)
    if report.faults:
        raise SystemExit(2)


def _behind(house: House) -> int | None:
    """How many anchors have not reached the other place; None when there is none."""
    copies = house.rooms().anchor_copies
    try:
        return None if copies is None else len(copies.behind())
    except OSError as error:
        raise _unusable(house.settings.anchors_file, error) from error


def _tell_behind(house: House, behind: int | None) -> None:
    if behind:
        said = Text(
            f"SEIKYU_ANCHOR_COMMAND にまだ届いていない控え {behind}件",
            f"{behind} anchors have not reached SEIKYU_ANCHOR_COMMAND yet",
        )
        screen.say(said, house.lang, "bold yellow")


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
    for one in report.acknowledged[:FAULTS_SHOWN]:
        screen.say(Text(f"確認済み: {one.ja}。", f"Acknowledged: {one.en}."), house.lang, "yellow")
    if not report.faults:
        said = Text(f"監査記録 {report.rows}件、改ざんなし。", f"{report.rows} records, the chain holds.")
        screen.say(said, house.lang, "bold green")
    screen.say(Text(f"照合した控え {report.anchors}件", f"{report.anchors} anchors checked"), house.lang)
    screen.say(Text(f"先頭ハッシュ {report.head}", f"head {report.head}"), house.lang, "dim")


@audit.command()
@AS_JSON
@click.pass_obj
def anchor(house: House, *, as_json: bool) -> None:
    """控えを追記 / Write down, outside the database, what the head of the log is now."""
    try:
        kept = house.rooms().anchors.anchor()
    except OSError as error:
        raise _unusable(house.settings.anchors_file, error) from error
    copies = house.rooms().anchor_copies
    if copies is not None:
        house.run(copies.keep_up)
    if as_json:
        screen.print_json(None if kept is None else kept.model_dump())
    elif kept is None:
        screen.say(Text("監査記録はまだありません。", "The log is empty."), house.lang)
    else:
        said = Text(f"監査記録 {kept.records}件の控えを追記しました。", f"Anchored {kept.records} records.")
        screen.say(said, house.lang, "bold green")
        screen.say(Text(f"先頭ハッシュ {kept.head}", f"head {kept.head}"), house.lang, "dim")
        _tell_behind(house, _behind(house))


@audit.command()
@_FROM
@_TO
@click.option("--amount-from", type=_YEN, help="取引金額（円・以上） / yen, at least")
@click.option("--amount-to", type=_YEN, help="取引金額（円・以下） / yen, at most")
@click.option("--counterparty", help="取引先名の一部 / part of the counterparty's name")
@click.option("--state", type=click.Choice([state.value for state in State]), help="この状態だけ / only in this state")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="件数 / how many at most")
@AS_JSON
@click.pass_obj
def search(
    house: House,
    *,
    day_from: datetime | None,
    day_to: datetime | None,
    amount_from: int | None,
    amount_to: int | None,
    counterparty: str | None,
    state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """日付・金額・取引先で検索 / Every action by day, amount and counterparty, whatever became of it."""
    from seikyu.gate.search import search as find_actions

    days = _days(day_from, day_to)
    wanted = Wanted(
        day_from=days[0],
        day_to=days[1],
        amount_from=amount_from,
        amount_to=amount_to,
        counterparty=counterparty,
        state=None if state is None else State(state),
    )
    hits = find_actions(house.rooms().store, wanted, limit=limit)
    if as_json:
        rows = [_hit_json(action) for action in hits.actions]
        screen.print_json({"actions": rows, "returned": len(rows), "total": hits.total, "total_yen": hits.yen})
    else:
        _show_hits(house, hits)


def _days(day_from: datetime | None, day_to: datetime | None) -> tuple[date, date]:
    return date.min if day_from is None else day_from.date(), date.max if day_to is None else day_to.date()


def _hit_json(action: Action) -> dict[str, Any]:
    particulars = action.particulars
    return {
        "action_id": action.id,
        "business_day": action.business_day,
        "transaction_date": None if particulars.transaction_date is None else particulars.transaction_date.isoformat(),
        "amount_yen": particulars.recorded_amount,
        "counterparty": particulars.counterparty_name,
        "state": action.state.value,
        "operation": action.operation,
        "connection": action.connection,
        "requester": action.requester,
        "reference": action.reference,
        "digest": action.digest,
    }


def _show_hits(house: House, hits: Hits) -> None:
    labels = (
        Text("申請番号 取引年月日 金額 取引先 状態 提供元の番号", "action day amount counterparty state reference")
        .say(house.lang)
        .split()
    )
    more = "" if len(hits.actions) == hits.total else f"{len(hits.actions)} / "
    title = Text(
        f"{more}{hits.total}件、合計 {yen_text(hits.yen)}", f"{more}{hits.total} actions, {yen_text(hits.yen)} in all"
    )
    screen.table(title.say(house.lang), labels, [_hit_row(house, one) for one in hits.actions], right=[2])


def _hit_row(house: House, action: Action) -> tuple[str, ...]:
    amount = action.particulars.recorded_amount
    return (
        action.id,
        action.business_day,
        "—" if amount is None else yen_text(amount),
        shown(action.particulars.counterparty_name or "—", 40),
        STATE_TEXT[action.state].say(house.lang),
        shown(action.reference or "—", 40),
    )


def _retention(house: House) -> Retention:
    from seikyu.gate.retention import Retention

    return Retention(house.settings.retention_years, house.settings.legal_hold)


@audit.command()
@AS_JSON
@click.pass_obj
def retention(house: House, *, as_json: bool) -> None:
    """保存期間 / How long everything is kept, and from which day a document need not be."""
    from seikyu.gate.retention import state

    rooms = house.rooms()
    said = state(rooms.store, _retention(house), jst_date(rooms.clock.now()))
    if as_json:
        screen.print_json(said.as_json)
    else:
        screen.say(said.text, house.lang, "bold red" if said.retention.legal_hold else None)


@audit.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_FROM
@_TO
@click.option("--with-files", is_flag=True, help="保管中の書類の写しも / copies of the kept documents too")
@AS_JSON
@click.pass_obj
def export(
    house: House, folder: Path, *, day_from: datetime | None, day_to: datetime | None, with_files: bool, as_json: bool
) -> None:
    """監査記録を書き出し / Hand everything over: CSV, log, documents' hashes and a manifest, in a new folder."""
    from seikyu.gate.export import export as hand_over

    rooms, days = house.rooms(), _days(day_from, day_to)
    made = hand_over(
        rooms.store,
        rooms.open_document,
        folder,
        now=rooms.clock.now(),
        day_from=days[0],
        day_to=days[1],
        with_files=with_files,
        retention=_retention(house),
    )
    counts = {"actions": made.actions, "records": made.records, "documents": made.documents, "damaged": made.damaged}
    if as_json:
        screen.print_json({"folder": str(made.folder), "manifest_sha256": made.manifest_sha256, **counts})
        return
    said = Text(
        f"申請 {made.actions}件、監査記録 {made.records}件、書類 {made.documents}件を {folder} に書き出しました。",
        f"{made.actions} actions, {made.records} records and {made.documents} documents are in {folder}.",
    )
    screen.say(said, house.lang, "bold green")
    screen.say(
        Text(f"manifest.json {made.manifest_sha256}", f"manifest.json {made.manifest_sha256}"), house.lang, "dim"
    )
    if made.damaged:
        screen.say(_damaged(made.damaged), house.lang, "bold red")


def _damaged(ids: Sequence[str]) -> Text:
    named = ", ".join(shown(name, 60) for name in ids[:FAULTS_SHOWN])
    return Text(
        f"壊れていて読めない申請 {len(ids)}件は damaged.jsonl にあります（{named}）。"
        "seikyu audit verify を実行してください。",
        f"{len(ids)} actions whose rows are damaged stand in damaged.jsonl ({named}). Run `seikyu audit verify`.",
    )
