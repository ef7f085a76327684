"""Numbered migrations: `NNNN_word.sql` for both engines, then `NNNN_word.sqlite.sql` or `NNNN_word.postgres.sql`."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

from seikyu.errors import StoreDamaged, Text


def migrations(dialect: Literal["sqlite", "postgres"]) -> list[tuple[int, str]]:
    """Every migration of an engine, by its number; one number may have two scripts, the common one first."""
    folder = files("seikyu.store") / "migrations"
    found = [
        (int(entry.name[:4]), kind != "", entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql") and (kind := _kind(entry.name)) in {"", dialect}
    ]
    return [(number, script) for number, _, script in sorted(found)]


def _kind(name: str) -> str:
    """`sqlite` of `0001_house.sqlite.sql`; nothing of `0001_house.sql`."""
    return name.removesuffix(".sql").partition(".")[2]


def newer() -> StoreDamaged:
    """What a database with a number beyond ours is answered with."""
    return StoreDamaged(
        Text("データベースは新しい版の Seikyu で作られています。", "The database was made by a newer Seikyu."),
        Text("Seikyu を更新してください。", "Update Seikyu."),
    )
