"""Every statement of `queries/` is understood by both databases."""

import re
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow
from pydantic import SecretStr

import seikyu.store.database
from gate.stage import make_stage
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
    "actions_done",
    "actions_told_of",
    "logins_connected",
)
"""What a write asks on its way through the gate, an event that comes in, and a page of connections."""

MANY = 20_000
FILL = {
    "id": "'act-' || n.i",
    "call_digest": "'call-' || n.i",
    "natural_key": "'N-' || n.i",
    "reference": "'tx-' || n.i",
    "requester": "'requester-' || n.i % 5",
    "counterparty_id": "'C-' || n.i % 500",
    "counterparty_key": "'customer-' || n.i % 500",
    "destination": "'account-' || n.i % 500",
    "file_sha256": "'file-' || n.i",
    "jst_day": "to_char(date '2026-11-20' - n.i % 1000, 'YYYY-MM-DD')",
}
"""What tells one stored action from the next."""


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_a_write_reads_what_it_looks_for_and_not_every_action_or_record_there_is(name: str, tmp_path: Path) -> None:
    store, sql = Store(tmp_path / "seikyu.db"), STATEMENTS[name]
    with store.read() as tx:
        values = dict.fromkeys(re.findall(r":(\w+)", sql), "x")
        plan = [str(row["detail"]) for row in tx.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    store.close()

    assert not [step for step in plan if re.match(r"SCAN (action|audit|revision|a|r)\b", step)]
    assert not [step for step in plan if step.endswith("action_state (state=?)")]


def test_a_write_on_postgres_is_planned_once_to_look_for_what_it_asks_and_not_through_every_action(
    tmp_path: Path, postgres_url: SecretStr
) -> None:
    stage = make_stage(tmp_path / "home", database_url=postgres_url)
    one = stage.propose("A-1", 50_000).row
    stage.presence.leave()
    columns = {name: FILL.get(name, f"action.{name}") for name in one}
    through = list[str]()

    with stage.store.write() as tx:
        tx.connection.execute(
            f"INSERT INTO action ({', '.join(columns)}) SELECT {', '.join(columns.values())}"  # noqa: S608 - our columns
            f" FROM action CROSS JOIN generate_series(1, {MANY}) AS n(i)"
        )
        tx.connection.execute("ANALYZE action")
    with stage.store.write() as tx:
        for name in ON_THE_WAY:
            plan = planned_once(tx.connection, STATEMENTS[name])
            assert any("$1" in step for step in plan)  # not for these values alone
            through += [f"{name}: {scan}" for scan, rest in pairwise([*plan, ""]) if is_of_all(scan, rest)]
    stage.store.close()

    assert through == []


def planned_once(connection: psycopg.Connection[DictRow], sql: str) -> list[str]:
    """The plan the transaction keeps for a statement, whatever it asks for."""
    names = list(dict.fromkeys(re.findall(r"(?<!:):(\w+)", sql)))
    marked = re.sub(r"(?<!:):(\w+)", lambda found: f"${names.index(found[1]) + 1}", sql)
    connection.execute(f"PREPARE asked AS {marked}".encode())
    values = f"({', '.join(['NULL'] * len(names))})" if names else ""
    plan = [row["QUERY PLAN"] for row in connection.execute(f"EXPLAIN EXECUTE asked{values}".encode())]
    connection.execute("DEALLOCATE asked")
    return plan


def is_of_all(scan: str, rest: str) -> bool:
    """Whether a step of a plan reads the whole of `action`, or of an index of it."""
    is_looking = "Index Cond" in rest or "Bitmap Index Scan" in rest or "Recheck Cond" in rest
    return re.search(r"Scan.* on action\b", scan) is not None and not is_looking
