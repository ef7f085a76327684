"""The database: whether it opens, is of our version, sound, and keeps the time."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from seikyu.errors import SeikyuError, Text
from seikyu.models import shown
from seikyu.store.looking import Condition
from seikyu.surfaces.doctor.findings import Finding, Findings, failed, fault, note, ok
from seikyu.surfaces.doctor.patient import Patient

QUICK_CHECK_S: Final = 1
MOST_SKEW_S: Final = 60
"""Requests and leases end by the clock; further apart than this, an answer can be taken for old."""


def look_at_database(patient: Patient) -> Findings:
    """In the order in which one fault hides the next."""
    try:
        found = patient.condition()
    except SeikyuError as error:
        yield failed("database.opens", error)
        return
    if found is None:
        yield note(
            "database.opens",
            Text(
                f"データベース {patient.settings.database} はまだありません。",
                f"There is no database {patient.settings.database} yet.",
            ),
            Text("最初に使う時に作られます。", "It is made at the first use."),
        )
        return
    yield _opens(found)
    yield _schema(found)
    if found.time is not None:
        yield clock_finding(
            "database.clock",
            Text("データベース", "the database"),
            (patient.clock.now() - found.time) // timedelta(seconds=1),
        )


def _opens(found: Condition) -> Finding:
    name = f"PostgreSQL {found.server}" if found.kind == "postgres" else "SQLite"
    return ok("database.opens", Text(f"データベース（{name}）を開けます。", f"The database ({name}) opens."))


def _schema(found: Condition) -> Finding:
    at, newest = found.schema, found.newest
    if at > newest:
        return fault(
            "database.schema",
            Text(
                f"データベースは新しい版の Seikyu のものです（{at}、手元は {newest}）。",
                f"The database was made by a newer Seikyu (schema {at}, ours is {newest}).",
            ),
            Text("Seikyu を更新してください。", "Update Seikyu."),
        )
    if at < newest:
        return note(
            "database.schema",
            Text(
                f"データベースは以前の版のものです（{at}、手元は {newest}）。",
                f"The database is of an earlier version (schema {at}, ours is {newest}).",
            ),
            Text(
                "控えを取ってから使い始めてください。最初の命令が更新します。",
                "Take a backup; the first command that uses it brings it up to date.",
            ),
        )
    return ok("database.schema", Text(f"データベースの版は {at} です。", f"Its schema is ours ({at})."))


def look_at_soundness(patient: Patient) -> Findings:
    """Of SQLite's file; PostgreSQL looks after its own."""
    found = patient.soundness(seconds=QUICK_CHECK_S)
    if found is None:
        return
    if found.fault is not None:
        said = shown(found.fault, 120)
        yield fault(
            "database.sound",
            Text(f"データベースのファイルが壊れています: {said}", f"The database file is not sound: {said}."),
            Text("Seikyu を止め、バックアップから戻してください。", "Stop Seikyu and restore it from a backup."),
        )
    elif not found.is_whole:
        yield note(
            "database.sound",
            Text(
                f"大きいため、{QUICK_CHECK_S}秒で確認を打ち切りました。",
                f"It is large: the check of the file was cut short after {QUICK_CHECK_S} s.",
            ),
            Text(
                "夜間に `sqlite3 seikyu.db 'PRAGMA quick_check'` を実行してください。",
                "Run `sqlite3 seikyu.db 'PRAGMA quick_check'` on a copy at a quiet hour.",
            ),
        )
    else:
        yield ok("database.sound", Text("データベースのファイルは正常です。", "The database file is sound."))


def tell_what_is_unseen(_patient: Patient) -> Findings:
    """Rows of another version may mean something else."""
    yield note(
        "database.contents",
        Text(
            "データベースの中身（申請・記録・ログイン）は調べていません。",
            "What the database holds (actions, log, logins) was not looked at.",
        ),
    )


def tell_what_is_unasked(_patient: Patient) -> Findings:
    """PostgreSQL is reached over the network."""
    yield note(
        "database.unasked",
        Text(
            "データベースと中身は調べていません（--offline）。",
            "The database and what it holds were not looked at (--offline).",
        ),
    )


def clock_finding(check: str, whose: Text, ahead_s: int, *, about: str = "") -> Finding:
    """What it means that our clock is `ahead_s` seconds ahead of somebody's."""
    if abs(ahead_s) <= MOST_SKEW_S:
        said = Text(f"時計は{whose.ja}と合っています。", f"This machine's clock agrees with that of {whose.en}.")
        return ok(check, said, about=about)
    way = Text("進んで", "ahead of") if ahead_s > 0 else Text("遅れて", "behind")
    return fault(
        check,
        Text(
            f"この機械の時計が{whose.ja}より{abs(ahead_s)}秒{way.ja}います。",
            f"This machine's clock is {abs(ahead_s)} s {way.en} that of {whose.en}.",
        ),
        Text("時刻の同期（NTP）を有効にしてください。", "Turn on time synchronisation (NTP)."),
        about=about,
    )
