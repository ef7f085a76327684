"""`seikyu doctor` changes nothing, and comes whatever is broken."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from e2e.beside import Installation, tokens, twins_beside
from e2e.windows import in_a_window
from postgres import Postgres
from seikyu.errors import StoreBusy, StoreDamaged, Text
from seikyu.gate import freezing
from seikyu.store.database import Store
from seikyu.store.looking import condition, steadily
from seikyu.store.schema import migrations
from seikyu.surfaces.cli.lines import lines
from seikyu.surfaces.doctor.findings import Findings, Level, ok
from seikyu.surfaces.doctor.patient import Patient
from seikyu.surfaces.doctor.rounds import Check, bounded, run

OLD = 3
"""The last migration of the old database."""


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    made.build()
    return made


def told(place: Installation, *options: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the worst level of each check."""
    done = place.run("doctor", "--json", *options)
    levels: dict[str, str] = {}
    for found in json.loads(done.stdout)["findings"]:
        known = Level(levels.get(found["check"], "ok"))
        levels[found["check"]] = max(known, Level(found["level"]), key=list(Level).index).value
    return done.exit_code, levels


def freeze(place: Installation) -> None:
    with place.opened() as home:
        freezing.freeze(home.rooms().store, home.clock, os_user="suzuki", operator=None, reason="a reason")


def old_database(file: Path) -> None:
    """As an earlier version left it."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for number, script in migrations("sqlite"):
            if number <= OLD:
                connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {OLD}")
    connection.close()
    file.chmod(0o600)


# it changes nothing


def test_an_old_database_is_left_as_it_is_byte_for_byte_and_nothing_appears_beside_it(place: Installation) -> None:
    old_database(place.home / "seikyu.db")
    before = place.snapshot()

    _, levels = told(place)

    assert place.snapshot() == before
    assert levels["database.schema"] == "note"
    assert levels["database.contents"] == "note"
    assert "gate.freeze" not in levels


def test_a_whole_installation_is_the_same_before_and_after(tmp_path: Path) -> None:
    with twins_beside() as twins:
        place = Installation(tmp_path, twins)
        place.build()
        place.connect()
        place.put_grant(tokens(place.invox_url), days_ago=1)
        freeze(place)
        before, refreshes = place.snapshot(), twins.invox.oauth.refreshes

        code, levels = told(place)

        assert place.snapshot() == before
        assert (twins.effects, twins.invox.oauth.refreshes) == ([], refreshes)
    assert code == 0
    assert {"connections.live", "key.rows", "gate.freeze", "log.witnesses"} <= set(levels)


def test_what_a_killed_process_left_behind_is_read_and_not_taken_in(place: Installation) -> None:
    freeze(place)
    program = (
        "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "connection.execute(\"INSERT INTO seen_request VALUES ('a', 'b')\"); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(place.home / "seikyu.db")], check=False)
    before = place.snapshot()

    _, levels = told(place, "--offline")

    assert "home/seikyu.db-wal" in before
    assert place.snapshot() == before
    assert (levels["database.sound"], levels["gate.freeze"]) == ("ok", "warning")


def test_a_journal_without_its_index_is_told_and_left(place: Installation) -> None:
    freeze(place)
    (place.home / "seikyu.db-wal").write_bytes(b"half a journal")
    before = place.snapshot()

    _, levels = told(place, "--offline")

    assert place.snapshot() == before
    assert levels["database.opens"] == "fault"


def test_an_index_without_its_journal_is_left_alone(place: Installation) -> None:
    freeze(place)
    (place.home / "seikyu.db-shm").write_bytes(b"an index of long ago")
    (place.home / "seikyu.db-shm").chmod(0o600)
    before = place.snapshot()

    _, levels = told(place, "--offline")

    assert place.snapshot() == before
    assert (levels["database.sound"], levels["gate.freeze"]) == ("ok", "warning")


def test_a_database_on_another_disk_is_private_and_looked_into_while_a_server_runs(place: Installation) -> None:
    elsewhere = place.folder / "elsewhere.db"
    (place.home / "seikyu.db").symlink_to(elsewhere)
    umask = os.umask(0)
    try:
        with place.opened() as home, home.rooms().store.write():
            _, levels = told(place, "--offline")
            made = {path.name: path.stat().st_mode & 0o777 for path in place.folder.glob("elsewhere*")}
    finally:
        os.umask(umask)

    assert made == {"elsewhere.db": 0o600, "elsewhere.db-shm": 0o600, "elsewhere.db-wal": 0o600}
    assert levels["database.sound"] == "ok"


def test_a_server_at_work_is_no_obstacle(place: Installation) -> None:
    with place.opened() as home, home.rooms().store.write():
        code, levels = told(place, "--offline")

    assert (code, levels["database.sound"], levels["log.witnesses"]) == (0, "ok", "ok")


def test_a_database_that_somebody_holds_alone_is_told_at_once(place: Installation) -> None:
    freeze(place)
    holder = sqlite3.connect(place.home / "seikyu.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("INSERT INTO seen_request VALUES ('a', 'b')")
    holder.execute("COMMIT")

    code, levels = told(place, "--offline")

    holder.close()
    assert (code, levels["database.opens"]) == (1, "fault")


def test_an_empty_postgres_is_not_given_any_tables(place: Installation, postgres: Postgres) -> None:
    url = postgres.new()
    place.variables["SEIKYU_DATABASE_URL"] = url.get_secret_value()

    _, levels = told(place)
    _, offline = told(place, "--offline")

    assert levels["database.schema"] == "note"
    assert levels["database.clock"] == "ok"
    assert "database.opens" not in offline
    with psycopg.connect(url.get_secret_value()) as connection:
        assert connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


def test_a_postgres_in_use_is_looked_into(place: Installation, postgres_url: SecretStr) -> None:
    place.variables["SEIKYU_DATABASE_URL"] = postgres_url.get_secret_value()
    freeze(place)

    done = place.run("doctor", "--json")

    found = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["database.opens"]["what"].startswith("The database (PostgreSQL 1")
    assert (found["database.schema"]["level"], found["gate.freeze"]["level"]) == ("ok", "warning")


def test_a_database_that_a_server_opened_meanwhile_is_looked_at_once_more(tmp_path: Path) -> None:
    file, looks = tmp_path / "seikyu.db", list[str]()

    def look() -> str:
        looks.append("a look")
        if len(looks) == 1:
            for end in ("wal", "shm"):
                (tmp_path / f"seikyu.db-{end}").touch()
            raise StoreDamaged(Text("壊れています", "It is not sound."))
        return "sound"

    assert (steadily(file, look), len(looks)) == ("sound", 2)
    assert (steadily(file, look), len(looks)) == ("sound", 3)


COMES_AND_GOES = """
import contextlib, sqlite3, sys
while True:
    with contextlib.closing(sqlite3.connect(sys.argv[1], timeout=30)) as connection, connection:
        connection.execute("INSERT INTO seen_request VALUES (hex(randomblob(8)), '')")
    print(flush=True)
"""
"""In a process of its own: connections of one process to one file share what they may do with it."""


def test_servers_that_come_and_go_meanwhile_are_no_obstacle(place: Installation) -> None:
    freeze(place)
    database = place.home / "seikyu.db"
    with subprocess.Popen([sys.executable, "-c", COMES_AND_GOES, str(database)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()

        looks = [condition(database) for _ in range(50)]

        assert server.poll() is None
        server.kill()

    assert all(look is not None and look.schema == look.newest for look in looks)


def test_a_server_that_does_not_start_points_to_the_doctor(place: Installation) -> None:
    (place.config / "connections.toml").write_text("schema = 2", encoding="utf-8")
    environment = os.environ | place.environment

    started = subprocess.run(
        [sys.executable, "-m", "seikyu", "serve"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert started.returncode == 1
    assert "connections.toml" in started.stderr
    assert "seikyu doctor" in started.stderr
    assert started.stdout == ""


# it survives everything


def spoil(name: str, content: bytes = b"\x00nonsense\xff" * 50) -> Callable[[Installation], None]:
    def spoilt(place: Installation) -> None:
        file = place.folder / name
        file.write_bytes(content)
        file.chmod(0o600)

    return spoilt


def no_home(place: Installation) -> None:
    place.variables["SEIKYU_HOME"] = str(place.folder / "nowhere" / "home")


def no_config(place: Installation) -> None:
    place.variables["SEIKYU_CONFIG"] = str(place.folder / "nowhere")


def home_is_a_file(place: Installation) -> None:
    place.variables["SEIKYU_HOME"] = str(place.config / "policy.toml")


def database_is_a_folder(place: Installation) -> None:
    (place.home / "seikyu.db").unlink()
    (place.home / "seikyu.db").mkdir(mode=0o700)


def newer_database(place: Installation) -> None:
    with sqlite3.connect(place.home / "seikyu.db") as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()


def postgres_is_down(place: Installation) -> None:
    place.variables["SEIKYU_DATABASE_URL"] = "postgresql://seikyu:hush@127.0.0.1:1/seikyu"


def half_a_row(place: Installation) -> None:
    with sqlite3.connect(place.home / "seikyu.db") as connection:
        connection.execute("INSERT INTO operator VALUES ('x', 'hush', '', '', '', '', NULL, NULL, 0, NULL)")
        connection.execute("INSERT INTO secret VALUES ('x', 'hush', '', '', '', 1, '', NULL, '', NULL, NULL)")
    connection.close()


def env_is_a_folder(place: Installation) -> None:
    (place.config / ".env").mkdir()


def no_folder(name: str) -> Callable[[Installation], None]:
    def made(place: Installation) -> None:
        with contextlib.suppress(FileNotFoundError):
            (place.home / name).rmdir()
        (place.home / name).touch(0o600)

    return made


RUINS: dict[str, tuple[Callable[[Installation], None], str, str]] = {
    "no home": (no_home, "files.home", "note"),
    "no configuration": (no_config, "configuration.folder", "note"),
    "home is a file": (home_is_a_file, "files.home", "fault"),
    "connections.toml": (spoil("config/connections.toml"), "configuration.connections", "fault"),
    ".env": (spoil("config/.env"), "configuration.env", "fault"),
    ".env is a folder": (env_is_a_folder, "configuration.env", "fault"),
    "no folder of sends": (no_folder("sent"), "files.folders", "fault"),
    "no folder of processes": (no_folder("alive"), "files.folders", "fault"),
    "policy.toml": (spoil("config/policy.toml"), "policy.rules", "fault"),
    "key": (spoil("home/master.key"), "key.source", "fault"),
    "database": (spoil("home/seikyu.db"), "database.opens", "fault"),
    "empty database": (spoil("home/seikyu.db", b""), "database.schema", "note"),
    "database is a folder": (database_is_a_folder, "database.opens", "fault"),
    "newer database": (newer_database, "database.schema", "fault"),
    "PostgreSQL down": (postgres_is_down, "database.opens", "fault"),
    "half a row": (half_a_row, "key.rows", "fault"),
    "anchors": (spoil("home/anchors.jsonl"), "log.anchors", "warning"),
    "journal": (spoil("home/sent/2026-11.jsonl"), "log.journal", "note"),
}


@pytest.mark.parametrize("ruin", RUINS)
def test_whatever_is_broken_is_named_and_nothing_else_is_hidden(place: Installation, ruin: str) -> None:
    place.put_key("hush: a key")
    (place.home / "sent").mkdir(mode=0o700, exist_ok=True)
    spoil_it, check, level = RUINS[ruin]
    spoil_it(place)

    done = place.run("doctor", "--json")

    found = json.loads(done.stdout)["findings"]
    assert level in [each["level"] for each in found if each["check"] == check]
    assert done.exit_code in {0, 1}
    assert not re.search(r"hush|Traceback|nonsense", done.output)
    assert {"machine.python", "files.space", "doors.public"} <= {each["check"] for each in found}


def test_brackets_without_end_are_a_fault_of_the_file(place: Installation) -> None:
    spoil("config/connections.toml", b"a = " + b"[" * 100_000)(place)

    done, found = place.run("connections"), json.loads(place.run("doctor", "--offline", "--json").stdout)["findings"]

    (what,) = (each["what"] for each in found if each["check"] == "configuration.connections")
    assert what.endswith("connections.toml cannot be read (RecursionError).")
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (1, True)


def test_everything_broken_at_once_is_still_told(place: Installation) -> None:
    for name in ("connections.toml", ".env", "policy.toml"):
        spoil(f"config/{name}")(place)
    for name in ("master.key", "seikyu.db", "anchors.jsonl"):
        spoil(f"home/{name}")(place)
    place.variables |= {"SEIKYU_LANG": "ja", "SEIKYU_BATCH_YEN": "hush", "SEIKYU_MASTER_KEY": "hush"}

    done = place.run("doctor")

    assert done.exit_code == 1
    assert not re.search(r"hush|Traceback|nonsense", done.output)
    assert done.output.splitlines()[-1].startswith("異常")


def test_a_check_that_never_ends_is_a_fault_of_its_own() -> None:
    is_over = threading.Event()

    def hang(_patient: Patient) -> Findings:
        is_over.wait()
        yield ok("never", Text("", ""))

    found = run(_nobody(), [Check("policy", hang, limit_s=0), Check("machine", _well)])
    is_over.set()

    assert [(each.check, each.level) for each in found] == [("policy.failed", "fault"), ("machine.python", "ok")]


def test_a_check_that_breaks_off_is_a_finding_without_its_words() -> None:
    def breaks_off(_patient: Patient) -> Findings:
        yield ok("log.anchors", Text("半分", "half"))
        raise ValueError("hush")

    def is_told(_patient: Patient) -> Findings:
        raise StoreBusy(Text("使用中", "It is busy."), Text("後で", "Later."))
        yield

    found = run(_nobody(), [Check("log", breaks_off), Check("gate", is_told), Check("machine", _well)])

    assert [(each.check, each.level, each.what.en) for each in found] == [
        ("log.anchors", "ok", "half"),
        ("log.failed", "fault", "The check log broke off (ValueError)."),
        ("gate.failed", "fault", "It is busy."),
        ("machine.python", "ok", "well"),
    ]


def test_a_configuration_that_hangs_or_breaks_off_is_replaced() -> None:
    never = threading.Event()

    hangs = bounded(never.wait, limit_s=0, instead=lambda: False)
    breaks_off = bounded(lambda: int("x"), limit_s=5, instead=lambda: 7)

    never.set()
    assert (hangs, breaks_off, bounded(lambda: 1, limit_s=5, instead=lambda: 7)) == (False, 7, 1)


def _well(_patient: Patient) -> Findings:
    yield ok("machine.python", Text("正常", "well"))


def _nobody() -> Any:
    """Checks of a test ask nobody."""
    return None


# what a person sees


def doctor_in_a_window(place: Installation, columns: int, **variables: str) -> tuple[int, str]:
    return in_a_window(columns, "doctor", "--offline", environment={**place.environment, **variables})


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_pipe_that_knows_no_japanese_gets_every_word_and_sound_json(place: Installation, lang: str) -> None:
    place.variables |= {"SEIKYU_LANG": lang, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    place.write_connections(company="株式会社")

    plain, as_json = (
        subprocess.run(
            [sys.executable, "-m", "seikyu", "doctor", "--offline", *options],
            env=os.environ | place.environment,
            capture_output=True,
            check=False,
        )
        for options in ([], ["--json"])
    )

    assert (plain.returncode, as_json.returncode, plain.stderr, as_json.stderr) == (0, 0, b"", b"")
    assert plain.stdout.isascii()
    assert len(plain.stdout.splitlines()) == len(json.loads(as_json.stdout)["findings"]) + 1


@pytest.mark.parametrize(
    "text,width,cut",
    [
        ("nothing to cut", 20, ["nothing to cut"]),
        ("words are kept whole", 11, ["words are", "kept whole"]),
        ("/a/path/that/is/long", 8, ["/a/path/", "that/is/", "long"]),
        ("控えを取ってから。", 8, ["控えを取", "ってか", "ら。"]),
        ("鍵は master.key です（秘密）。", 12, ["鍵は", "master.key", "です（秘", "密）。"]),
        ("", 5, []),
    ],
)
def test_lines_are_cut_as_each_language_is(text: str, width: int, cut: list[str]) -> None:
    assert lines(text, width) == cut


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_in_a_narrow_window_every_line_fits_and_the_sign_has_a_column_of_its_own(
    place: Installation, lang: str
) -> None:
    from rich.cells import cell_len

    old_database(place.home / "seikyu.db")
    place.home.chmod(0o755)

    code, shown = doctor_in_a_window(place, 60, SEIKYU_LANG=lang)

    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.replace("\r", "").split("\n")]
    assert code == 1
    assert "\x1b[1;31m ✗ " in shown
    assert max(map(cell_len, plain)) <= 60
    assert "…" not in shown.replace(", …", "")
    assert [line for line in plain if line.strip().startswith("→")]
    assert all(line.startswith((" ✓ ", " · ", " ! ", " ✗ ", "   ")) for line in plain if line.startswith(" "))


def test_without_colour_the_signs_say_it_alone(place: Installation) -> None:
    _, shown = doctor_in_a_window(place, 100, NO_COLOR="1")

    assert "✓" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)


@pytest.mark.skipif(sys.platform != "linux", reason="a name of a file is any bytes there")
def test_a_database_in_a_folder_whose_name_is_no_text_is_looked_at_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"ledger \xff?")
    folder.mkdir()
    store = Store(folder / "seikyu.db")
    with store.write():
        pass
    store.close()

    found = condition(folder / "seikyu.db")

    assert found is not None
    assert found.kind == "sqlite"
