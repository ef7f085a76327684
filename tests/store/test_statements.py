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
