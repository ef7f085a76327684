"""What only PostgreSQL has: an address, a server that comes and goes, and a clock for all."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from gate.stage import make_stage
from postgres import Postgres
from seikyu.errors import ConfigurationError, StoreBusy, StoreDamaged, Taken
from seikyu.gate import audit
from seikyu.settings import read_settings
from seikyu.store.database import Store
from seikyu.store.postgres_plans import USES

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


@pytest.fixture
def store(postgres_url: SecretStr) -> Iterator[Store]:
    store = Store(postgres_url)
    yield store
    store.close()


def note(store: Store, word: str) -> None:
    with store.write() as tx:
        audit.append(tx, NOW, word)


def words(store: Store) -> list[str]:
    with store.read() as tx:
        return [row["kind"] for row in tx.all("audit_page", after=0, limit=100)]


def raw(url: SecretStr, statement: str) -> None:
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        connection.execute(statement.encode())


def test_several_processes_start_at_once_on_an_empty_database_and_it_is_made_once(postgres: Postgres) -> None:
    url, faults = postgres.new(), list[Exception]()
    start = threading.Barrier(6)

    def begin(number: int) -> None:
        store = Store(url)
        start.wait()
        try:
            note(store, f"started-{number}")
        except Exception as error:  # noqa: BLE001 - told to the test
            faults.append(error)
        store.close()

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    store = Store(url)
    assert faults == []
    assert sorted(words(store)) == [f"started-{number}" for number in range(6)]
    assert audit.verify(store).faults == ()
    store.close()


def total(store: Store) -> int:
    """Asked in a way that is planned once for each connection."""
    who = dict.fromkeys(("requester", "connection", "counterparty_key", "counterparty_id", "except_id"), "x")
    days = dict.fromkeys(("today", "first_day", "connection_from", "last_day"), "2026-11-21")
    with store.read() as tx:
        found = tx.one("totals", **who, **days)
    assert found is not None
    return int(found["daily_total"])


def test_a_process_works_on_when_a_newer_seikyu_adds_a_column(tmp_path: Path, postgres_url: SecretStr) -> None:
    stage = make_stage(tmp_path / "home", database_url=postgres_url)
    for number in range(USES + 1):
        stage.propose(f"B-{number}", 100 + number)
    raw(postgres_url, "ALTER TABLE action ADD COLUMN newer TEXT")

    later = [stage.propose(f"A-{number}", number) for number in (2, 3)]

    raw(postgres_url, "ALTER TABLE action DROP COLUMN newer")
    assert [action.particulars.amount for action in later] == [2, 3]
    stage.store.close()


def test_a_pooler_that_does_not_keep_what_belongs_to_a_connection_is_named(store: Store) -> None:
    assert [total(store) for _ in range(USES + 1)] == [0] * (USES + 1)
    with store.read() as tx:
        tx.connection.pgconn.exec_(b"DEALLOCATE ALL")  # what another server's connection would be like

    with pytest.raises(ConfigurationError) as refused:
        total(store)

    assert (
        refused.value.what.en == "A pooler between Seikyu and the database does not keep what belongs to a connection."
    )
    assert refused.value.next_step.en.endswith("name the database itself, or the pooler's session mode.")
    assert total(store) == 0


def test_a_database_of_a_newer_seikyu_is_refused(postgres_url: SecretStr, store: Store) -> None:
    note(store, "first")
    raw(postgres_url, "UPDATE seikyu_schema SET version = version + 1")

    with pytest.raises(StoreDamaged, match="newer Seikyu"), Store(postgres_url).read():
        pass

    raw(postgres_url, "UPDATE seikyu_schema SET version = version - 1")


def test_every_text_column_sorts_by_code_point_whatever_the_language_of_the_database(store: Store) -> None:
    note(store, "first")

    with store.read() as tx:
        rows = tx.connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
        ).fetchall()

    assert rows == []


@pytest.mark.parametrize("statement", ["UPDATE audit SET kind = 'x'", "DELETE FROM audit", "TRUNCATE audit"])
def test_the_audit_log_is_append_only(postgres_url: SecretStr, store: Store, statement: str) -> None:
    note(store, "first")

    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        raw(postgres_url, statement)

    assert words(store) == ["first"]


def test_after_a_restart_of_the_server_the_next_use_connects_again(postgres: Postgres, store: Store) -> None:
    note(store, "before")

    postgres.stop_at_once()
    with pytest.raises(StoreBusy, match="out of reach"):
        note(store, "meanwhile")
    postgres.start()
    note(store, "after")

    assert words(store) == ["before", "after"]


def test_a_server_that_is_lost_in_a_transaction_has_stored_nothing(postgres: Postgres, store: Store) -> None:
    note(store, "before")

    def lose() -> None:
        with store.write() as tx:
            audit.append(tx, NOW, "lost")
            postgres.stop_at_once()
            postgres.start()
            tx.one("audit_head")

    with pytest.raises(StoreBusy):
        lose()

    assert words(store) == ["before"]


@pytest.mark.fault("F15")
@pytest.mark.parametrize("value", ["off", "local"])
def test_f15_a_database_that_may_lose_what_it_commits_is_refused(postgres_url: SecretStr, value: str) -> None:
    name = postgres_url.get_secret_value().partition("?")[0].rpartition("/")[2]
    raw(postgres_url, f"ALTER DATABASE {name} SET synchronous_commit = {value}")
    store = Store(postgres_url)

    with pytest.raises(ConfigurationError, match=f"synchronous_commit of the database is {value}"):
        note(store, "unsafe")

    store.close()
    raw(postgres_url, f"ALTER DATABASE {name} RESET synchronous_commit")


def test_the_password_of_the_address_is_in_no_error_even_if_it_is_mistyped() -> None:
    for url in (
        "postgresql://seikyu:hunter2@127.0.0.1:1/seikyu",
        "postgresql://seikyu:hun@ter2@127.0.0.1:1/hunter2",
        "postgresql://seikyu:hunter2/x@127.0.0.1/seikyu",
        "postgresql://seikyu:100%hunter2@127.0.0.1:1/seikyu",
        "postgresql://seikyu@127.0.0.1:1/seikyu?hunter2",
    ):
        with pytest.raises((StoreBusy, ConfigurationError)) as told, Store(SecretStr(url)).read():
            pass

        assert "ter2" not in f"{told.value!r} {told.value.text}"
        assert told.value.__cause__ is None
        assert told.value.__suppress_context__ or told.value.__context__ is None


def test_an_address_of_another_kind_is_told_in_one_sentence_without_repeating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEIKYU_DATABASE_URL", "mysql://seikyu:hunter2@127.0.0.1/seikyu")

    with pytest.raises(ConfigurationError) as told:
        read_settings(tmp_path)

    assert told.value.what.en == "SEIKYU_DATABASE_URL must begin with postgresql:// (for SQLite, leave it out)."
    assert "hunter2" not in repr(told.value) + told.value.text.ja + told.value.text.en


def test_the_address_may_stand_in_the_env_file_and_its_password_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SEIKYU_DATABASE_URL=postgresql://seikyu:hunter2@127.0.0.1/seikyu\n")

    settings = read_settings(tmp_path)

    assert isinstance(settings.store_place, SecretStr)
    assert settings.store_place.get_secret_value().startswith("postgresql://seikyu:")
    assert "hunter2" not in repr(settings)


def test_sqlite_never_loads_the_driver_of_postgresql(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from seikyu.store.database import Store\n"
        "with Store(Path(sys.argv[1])).read(): print('psycopg' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "seikyu.db")], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


def test_a_statement_that_failed_and_was_passed_over_is_not_committed(store: Store) -> None:
    note(store, "first")

    def go_on() -> None:
        with store.write() as tx, suppress(Taken):
            tx.run("append_audit", seq=1, at="", kind="again", action_id=None, record="", prev="", hash="")

    with pytest.raises(RuntimeError, match="rolled back"):
        go_on()

    assert words(store) == ["first"]
