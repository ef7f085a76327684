"""Every statement of `queries/` is understood by both databases."""

import re
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

import seikyu.store.database
from seikyu.store.database import Store

FOLDER = Path(seikyu.store.database.__file__).parent / "queries"
NAMED = re.compile(r"^-- name: (\w+)[\^!]?\n(.*?)(?=^-- name: |\Z)", re.DOTALL | re.MULTILINE)
TEXTS = [file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.sql"))]
STATEMENTS: dict[str, str] = {name: sql for text in TEXTS for name, sql in NAMED.findall(text)}


def test_every_statement_of_the_files_is_looked_at() -> None:
    assert len(STATEMENTS) == sum(text.count("-- name:") for text in TEXTS)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_every_statement_is_understood(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place: Path | SecretStr = tmp_path / "seikyu.db"
    if store == "postgres":
        place = request.getfixturevalue("postgres_url")
    opened, faults = Store(place), list[str]()

    for name, sql in STATEMENTS.items():
        values = dict.fromkeys(re.findall(r":(\w+)", sql))
        with opened.read() as tx:
            marks = re.sub(r":(\w+)", r"%(\1)s", sql) if store == "postgres" else sql
            asked = f"EXPLAIN {marks.strip().removesuffix(';')}"
            try:
                tx.connection.execute(asked, values)
            except psycopg.Error as error:
                faults.append(f"{name}: {error}")
                tx.connection.execute("ROLLBACK")
                tx.connection.execute("BEGIN")

    opened.close()
    assert faults == []


ON_THE_WAY = (
    "live_call",
    "live_natural_key",
    "twins_of",
    "twin_files",
    "rivals_of",
    "knows_destination",
    "last_destination",
    "totals",
    "count_awaiting_of",
    "logins_connected",
)
"""What a write asks on its way through the gate, and a page of connections."""


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_a_write_reads_what_it_looks_for_and_not_every_action_or_record_there_is(name: str, tmp_path: Path) -> None:
    store, sql = Store(tmp_path / "seikyu.db"), STATEMENTS[name]
    with store.read() as tx:
        values = dict.fromkeys(re.findall(r":(\w+)", sql), "x")
        plan = [str(row["detail"]) for row in tx.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    store.close()

    assert not [step for step in plan if re.match(r"SCAN (action|audit|revision|a|r)\b", step)]
    assert not [step for step in plan if step.endswith("action_state (state=?)")]
