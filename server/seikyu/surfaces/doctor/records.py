"""The audit log against what stands outside the database: anchors and the journal of sends. The cheap part of it."""

from __future__ import annotations

from datetime import timedelta

from seikyu.errors import SeikyuError, Text
from seikyu.gate.anchors import EVERY, EVERY_RECORDS, Anchor
from seikyu.models import moment
from seikyu.surfaces.doctor.database import MOST_SKEW_S
from seikyu.surfaces.doctor.findings import Finding, Findings, failed, fault, note, ok, warning
from seikyu.surfaces.doctor.patient import Patient

_VERIFY = Text(
    "全体を確かめるには seikyu audit verify を実行してください。", "Run `seikyu audit verify` to check all of it."
)


def look_at_log(patient: Patient) -> Findings:
    """Whether the database still knows what was written down outside it."""
    with patient.store.read() as tx:
        head = tx.one("last_record")
    records = 0 if head is None else int(head["seq"])
    yield from _witnesses(patient, records)
    yield from _anchoring(patient, records)
    yield from _copies(patient)


def _witnesses(patient: Patient, records: int) -> Findings:
    try:
        findings = patient.restoration.findings()
    except SeikyuError as error:
        yield failed("log.witnesses", error)
        return
    if findings.is_older:
        sends, anchors = len(findings.missing), len(findings.denied)
        yield fault(
            "log.witnesses",
            Text(
                f"データベースは送信控え{sends}件・記録の控え{anchors}件を知りません（復元か改変）。",
                f"The database does not know {sends} send(s) and {anchors} anchor(s): it was restored or changed.",
            ),
            Text(
                "seikyu audit verify で確かめ、復元したなら seikyu reconcile、次に seikyu unfreeze です。",
                "Run `seikyu audit verify`; if it was restored, `seikyu reconcile`, then `seikyu unfreeze`.",
            ),
        )
    else:
        yield ok(
            "log.witnesses",
            Text(
                f"監査記録{records}件は、控えと送信控えに合っています。",
                f"The audit log ({records} records) agrees with its anchors and with the journal of sends.",
            ),
        )
    if findings.unreadable:
        yield note(
            "log.journal",
            Text(
                f"送信控えの{findings.unreadable}行を読めません。",
                f"{findings.unreadable} line(s) of the journal of sends cannot be read.",
            ),
            Text("最後の1行なら、送る前の停止の跡です。", "The last one may be the trace of a crash before a send."),
        )


def _anchoring(patient: Patient, records: int) -> Findings:
    try:
        lines = patient.anchors.read()
    except OSError as error:
        yield _no_anchors(patient, error)
        return
    if lines.unreadable:
        numbers = ", ".join(map(str, lines.unreadable[:5]))
        yield warning(
            "log.anchors",
            Text(
                f"記録の控えの {numbers} 行目を読めません。",
                f"Line(s) {numbers} of the anchors cannot be read.",
            ),
            _VERIFY,
        )
    newest = lines.anchors[-1] if lines.anchors else None
    if _is_due(patient, newest, records):
        yield warning(
            "log.anchors",
            Text(
                "監査記録の控えが1日以上取られていません。",
                "The audit log has grown, and was not anchored for more than a day.",
            ),
            Text(
                "seikyu serve を動かすか、seikyu audit anchor を実行してください。",
                "Keep `seikyu serve` running, or run `seikyu audit anchor`.",
            ),
        )
    elif newest is not None:
        yield ok("log.anchors", Text("監査記録の控えは新しいです。", "The audit log is anchored."))


def _no_anchors(patient: Patient, error: OSError) -> Finding:
    path, reason = patient.anchors.path, type(error).__name__
    return fault(
        "log.anchors",
        Text(f"記録の控え {path} を読めません（{reason}）。", f"The anchors {path} cannot be read ({reason})."),
        Text("権限と SEIKYU_AUDIT_ANCHORS を確かめてください。", "Check its permissions and SEIKYU_AUDIT_ANCHORS."),
    )


def _is_due(patient: Patient, newest: Anchor | None, records: int) -> bool:
    if newest is None:
        return records >= EVERY_RECORDS
    return records > newest.records and patient.clock.now() - moment(newest.at) > EVERY + timedelta(hours=1)


def _copies(patient: Patient) -> Findings:
    if not patient.settings.anchor_command:
        return
    try:
        behind = patient.anchors_behind()
    except OSError as error:
        yield _no_anchors(patient, error)
        return
    if behind:
        yield warning(
            "log.copies",
            Text(f"控え{behind}件がまだ別の場所に届いていません。", f"{behind} anchor(s) have not reached their copy."),
            Text(
                "SEIKYU_ANCHOR_COMMAND のプログラムを確かめてください。", "Look at the program SEIKYU_ANCHOR_COMMAND."
            ),
        )
    else:
        yield ok("log.copies", Text("控えはすべて別の場所に届いています。", "Every anchor has reached its copy."))


def look_at_last_record(patient: Patient) -> Findings:
    """A record from the future tells of a clock that was set back since; SQLite's time is this machine's."""
    with patient.store.read() as tx:
        last = tx.one("last_record")
    if last is None or patient.settings.database_url is not None:
        return
    ahead_s = (moment(last["at"]) - patient.clock.now()) // timedelta(seconds=1)
    if ahead_s > MOST_SKEW_S:
        yield fault(
            "clock.records",
            Text(
                f"最新の記録が{ahead_s}秒先の日時です。時計が戻されています。",
                f"The newest record is {ahead_s} s in the future: the clock was set back since.",
            ),
            Text(
                "時刻を直してください。期限は時計で決まります。", "Set the clock right: approvals and leases end by it."
            ),
        )
    else:
        yield ok("clock.records", Text("最新の記録より後の時刻です。", "The clock is past the newest record."))
