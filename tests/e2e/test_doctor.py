"""`seikyu doctor` at the command line: each finding on both of its sides."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from e2e.beside import INVOX, MFK, OTHER_KEY, Installation, Past, tokens, twins_beside
from e2e.terminal import Terminal
from gate.stage import CHEAP, PASSPHRASE
from seikyu.app import Home
from seikyu.gate import freezing, operators
from seikyu.gate.anchors import Anchor, AnchorFile
from seikyu.models import timestamp
from seikyu.sandbox.twins import Twins
from seikyu.store.looking import Condition, Soundness
from seikyu.surfaces.doctor.clients import MOST_BYTES, places
from seikyu.surfaces.doctor.database import look_at_database, look_at_soundness
from seikyu.surfaces.doctor.files import LITTLE_ROOM, NO_ROOM, room
from seikyu.surfaces.doctor.machine import extra, python
from seikyu.vault.keepsakes import Keepsakes, slack_place, webhook_place
from seikyu.vault.keys import create_key_file


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    made.build()
    return made


@pytest.fixture
def rehearsal(twins: Twins, tmp_path: Path) -> Installation:
    made = Installation(tmp_path, twins)
    made.build()
    return made


class Report:
    """What the doctor said."""

    def __init__(self, place: Installation, *options: str) -> None:
        self.done = place.run("doctor", "--json", *options)
        self.said: dict[str, Any] = json.loads(self.done.stdout)

    def of(self, check: str, about: str | None = None) -> list[tuple[str, str]]:
        """Level, and what is, of each finding of that name."""
        return [
            (found["level"], found["what"])
            for found in self.said["findings"]
            if found["check"] == check and about in (None, found["about"])
        ]

    def level(self, check: str, about: str | None = None) -> str:
        """Of the only finding of that name."""
        ((level, _),) = self.of(check, about)
        return level

    def steps(self, check: str) -> list[str]:
        return [str(found["next_step"]) for found in self.said["findings"] if found["check"] == check]


def offline(place: Installation) -> Report:
    return Report(place, "--offline")


def with_rows(place: Installation, work: Callable[[Home], object]) -> None:
    with place.opened() as home:
        work(home)


def enrol(home: Home, name: str) -> None:
    store = home.rooms().store
    with store.read() as tx:
        first = next(iter(operators.list_operators(tx)), None)
    endorser = None if first is None else operators.unlock(store, home.clock, first.name, PASSPHRASE)
    operators.enrol(store, home.clock, name, PASSPHRASE, endorser=endorser, cost=CHEAP)


def enrol_two(home: Home) -> None:
    enrol(home, "tanaka")
    enrol(home, "sato")


# the whole of it


def test_a_healthy_installation_has_no_fault_and_ends_with_0(rehearsal: Installation) -> None:
    with_rows(rehearsal, enrol_two)
    rehearsal.connect()

    report = Report(rehearsal)

    assert report.done.exit_code == 0
    assert (report.said["healthy"], report.said["offline"]) == (True, False)
    assert report.said["counts"] | {"ok": 0, "note": 0} == {"ok": 0, "note": 0, "warning": 0, "fault": 0}
    assert report.said["home"] == str(rehearsal.home)
    assert {name for name, _ in report.of("connections.live")} == {"ok"}


def test_every_finding_says_what_is_and_a_bad_one_what_to_do(place: Installation) -> None:
    (place.config / "policy.toml").write_text("nonsense", encoding="utf-8")

    report = Report(place)

    assert report.done.exit_code == 1
    for found in report.said["findings"]:
        assert set(found) == {"check", "level", "about", "what", "next_step"}
        assert found["what"]
        assert found["next_step"] or found["level"] in {"ok", "note"}


def test_offline_nobody_is_asked_and_it_says_so(twins: Twins, rehearsal: Installation) -> None:
    rehearsal.connect()
    before = twins.requests

    report = offline(rehearsal)

    assert twins.requests == before
    assert report.level("machine.offline") == "note"
    assert report.of("connections.live") == report.of("connections.twin") == []


def test_a_new_installation_is_told_what_to_do_first(tmp_path: Path) -> None:
    new = Installation(tmp_path)

    report = Report(new)

    assert report.done.exit_code == 0
    assert report.level("configuration.folder") == "note"
    assert (report.level("files.home"), report.level("database.opens")) == ("note", "note")
    assert report.level("key.source") == "note"
    assert not new.home.exists()
    assert not new.config.exists()


def test_people_read_it_in_their_language_piped_line_by_line(place: Installation) -> None:
    english = place.run("doctor", "--offline").output
    place.variables["SEIKYU_LANG"] = "ja"
    japanese = place.run("doctor", "--offline").output

    assert "ok      policy.rules               5 rules, 0 examples: all hold.\n" in english
    assert "ok      policy.rules               規則5件、例0件がすべて成り立ちます。\n" in japanese
    assert "\x1b" not in english


# the configuration


@pytest.mark.parametrize("name", ["SEIKYU_HOME", "SEIKYU_CONFIG"])
@pytest.mark.parametrize("value", ["~nobody-of-ours/seikyu", "seikyu"])
def test_a_folder_that_nobody_can_find_from_elsewhere_is_a_fault(place: Installation, name: str, value: str) -> None:
    place.variables[name] = value

    assert offline(place).level("configuration.variables", name) == "fault"


def test_a_faulty_variable_is_named_and_everything_else_is_looked_at_all_the_same(place: Installation) -> None:
    well = offline(place)
    place.variables |= {"SEIKYU_BATCH_COUNT": "many", "SEIKYU_TIMING_WRITE_S": "-1"}

    report = offline(place)

    assert well.level("configuration.variables") == "ok"
    assert report.level("configuration.variables", "SEIKYU_BATCH_COUNT") == "fault"
    assert report.level("configuration.variables", "SEIKYU_TIMING_WRITE_S") == "fault"
    assert report.level("configuration.connections") == "ok"
    assert (report.level("policy.rules"), report.level("key.source")) == ("ok", "ok")


def test_a_variable_that_nothing_reads_is_told_with_the_one_that_was_meant(place: Installation) -> None:
    (place.config / ".env").write_text("SEIKYU_READONLY=1\n", encoding="utf-8")

    report = offline(place)

    assert report.level("configuration.variables", "SEIKYU_READONLY") == "warning"
    assert "SEIKYU_READ_ONLY" in report.steps("configuration.variables")[0]


def test_every_variable_of_the_example_is_known(place: Installation) -> None:
    example = Path(__file__).parents[2] / "config" / ".env.example"
    names = [line[1:].partition("=")[0] for line in example.read_text("utf-8").splitlines() if line[:8] == "#SEIKYU_"]
    (place.config / ".env").write_text("".join(f"{name}=\n" for name in names), encoding="utf-8")

    report = offline(place)

    assert len(names) > 20
    assert [what for level, what in report.of("configuration.variables") if level == "warning"] == []


@pytest.mark.parametrize("name", [".env", "connections.toml"])
def test_a_file_that_cannot_be_read_is_named(place: Installation, name: str) -> None:
    (place.config / name).write_bytes(b"\xff\xfe")

    report = offline(place)

    assert report.done.exit_code == 1
    assert report.level({".env": "configuration.env"}.get(name, "configuration.connections")) == "fault"
    assert report.level("policy.rules") == "ok"


@pytest.mark.parametrize("port", ["99999", "0", "hush"])
def test_a_port_that_does_not_exist_is_a_fault_of_the_configuration(place: Installation, port: str) -> None:
    place.mfk_url = f"http://127.0.0.1:{port}/v2"
    place.write_connections()

    report = Report(place)

    assert report.level("configuration.connections") == "fault"
    assert report.of("twins.failed") == []


def test_an_unknown_key_of_a_connection_is_named(place: Installation) -> None:
    place.write_connections('compnay = "slip"\n')

    report = offline(place)

    ((level, what),) = report.of("configuration.connections")
    assert level == "fault"
    assert "compnay" in what


def test_secrets_in_a_file_that_others_can_read_are_a_fault(place: Installation) -> None:
    file = place.config / ".env"
    file.write_text("SEIKYU_DATABASE_URL=\n", encoding="utf-8")
    file.chmod(0o644)
    exposed = offline(place)
    file.chmod(0o600)

    assert exposed.level("configuration.env") == "fault"
    assert offline(place).of("configuration.env") == []


def test_a_policy_that_is_missing_or_wrong_is_told_apart(place: Installation) -> None:
    file = place.config / "policy.toml"
    good = offline(place).level("policy.rules")
    file.write_text("schema = 2\n", encoding="utf-8")
    wrong = offline(place).level("policy.rules")
    file.unlink()

    assert (good, wrong, offline(place).level("policy.rules")) == ("ok", "fault", "warning")


def test_read_only_is_told(place: Installation) -> None:
    free = offline(place)
    place.variables["SEIKYU_READ_ONLY"] = "1"

    assert free.of("policy.writes") == []
    assert offline(place).level("policy.writes") == "note"


# the key


def test_a_key_that_opens_everything_is_well_and_another_is_a_fault(place: Installation) -> None:
    place.put_key("a key")
    well = offline(place)
    (place.home / "master.key").write_text(f"{OTHER_KEY}\n", encoding="ascii")

    report = offline(place)

    assert (well.level("key.source"), well.level("key.rows")) == ("ok", "ok")
    assert (report.level("key.source"), report.level("key.rows", MFK)) == ("ok", "fault")
    assert "not in the ring" in report.of("key.rows")[0][1]


def test_a_key_that_is_gone_while_secrets_are_sealed_is_a_fault(place: Installation) -> None:
    place.put_key("a key")
    (place.home / "master.key").unlink()

    report = offline(place)

    assert (report.level("key.source"), report.level("key.rows")) == ("note", "fault")


def test_a_lost_key_leaves_a_way_out_for_every_secret_and_a_new_key_is_not_made_in_silence(place: Installation) -> None:
    def store_all(home: Home) -> None:
        keep, connection = Keepsakes(home.rooms().store, home.clock, home.key_ring), home.settings.connection(MFK)
        assert connection is not None
        keep.put_signing_secret(webhook_place(connection), SecretStr("hush" * 5))
        keep.sealing_key(may_make=True)
        keep.page_key()

    with_rows(place, store_all)
    (place.home / "master.key").unlink()

    asked = place.run("webhook", MFK, "--secret-fd", str(secret_fd("n3w-secret-of-mfk")))
    create_key_file(place.home)  # as after a person's yes
    made = place.run("webhook", MFK, "--secret-fd", str(secret_fd("n3w-secret-of-mfk")))
    steps = offline(place).steps("key.rows")
    forgotten = [place.run("vault", "forget", name, "--force") for name in ("house/page", "house/seal")]

    assert (asked.exit_code, made.exit_code) == (1, 0)
    assert "There is no master key, and 3 stored secret(s) open with the former one only." in asked.stderr
    assert [re.findall(r"`(.*)`", step) for step in steps] == [
        ["seikyu vault forget house/page"],
        ["seikyu vault forget house/seal"],
    ]
    assert [done.exit_code for done in forgotten] == [0, 0]
    assert offline(place).level("key.rows") == "ok"


def secret_fd(secret: str) -> int:
    ours, theirs = os.pipe()
    os.write(theirs, secret.encode())
    os.close(theirs)
    return ours


def test_a_link_that_leads_nowhere_in_place_of_the_key_file_is_a_fault(place: Installation) -> None:
    (place.home / "master.key").unlink()
    (place.home / "master.key").symlink_to("nowhere")

    assert offline(place).level("key.source") == "fault"


def test_secrets_are_not_called_lost_while_their_key_only_cannot_be_read(place: Installation) -> None:
    place.put_key("hush")
    (place.home / "master.key").chmod(0o640)

    report = offline(place)

    assert (report.level("key.source"), report.level("key.rows")) == ("fault", "note")
    assert report.steps("key.rows") == ["Mend the master key first."]


def test_what_offline_does_not_ask_is_told(place: Installation) -> None:
    place.variables |= {
        "SEIKYU_MASTER_KEY_COMMAND": "/bin/false",
        "SEIKYU_DATABASE_URL": "postgresql://seikyu:hush@127.0.0.1:1/seikyu",
    }

    report = offline(place)

    assert (report.level("key.unasked"), report.level("database.unasked")) == ("note", "note")
    assert (report.of("key.source"), report.of("database.opens")) == ([], [])


def test_a_key_file_that_others_can_read_is_a_fault(place: Installation) -> None:
    (place.home / "master.key").chmod(0o644)

    report = offline(place)

    assert report.level("key.source") == "fault"
    assert "chmod 600" in report.steps("key.source")[0]


def test_a_row_whose_address_changed_does_not_open(place: Installation) -> None:
    place.put_key("a key")
    place.mfk_url = "http://127.0.0.1:9/elsewhere"
    place.write_connections()

    report = offline(place)

    ((level, what),) = report.of("key.rows")
    assert level == "fault"
    assert "the row or its base_url has changed" in what


def test_what_is_sealed_with_a_former_key_or_belongs_to_nothing_is_noted(place: Installation) -> None:
    place.put_key("a key")
    old = (place.home / "master.key").read_text("ascii")
    (place.home / "master.key").write_text(f"{OTHER_KEY}\n" + old, encoding="ascii")
    retired = offline(place)
    (place.config / "connections.toml").write_text("schema = 1\n", encoding="utf-8")

    unconfigured = offline(place)

    assert (retired.level("key.rows"), retired.level("key.retired")) == ("ok", "note")
    assert "vault rotate" in retired.steps("key.retired")[0]
    assert (unconfigured.of("key.rows"), unconfigured.level("key.leftover")) == ([], "note")


# the files


def test_a_home_that_others_can_reach_is_a_fault(place: Installation) -> None:
    well = offline(place)
    place.home.chmod(0o755)

    report = offline(place)

    assert (well.level("files.home"), well.level("files.modes")) == ("ok", "ok")
    assert report.level("files.home") == "fault"
    assert "chmod 700" in report.steps("files.home")[0]


def test_a_file_that_is_open_inside_a_shut_home_is_a_warning_and_the_inbox_is_nobodys_business(
    place: Installation,
) -> None:
    (place.home / "inbox").mkdir()
    (place.home / "inbox" / "a.pdf").write_bytes(b"")
    (place.home / "anchors.jsonl").write_bytes(b"")
    (place.home / "anchors.jsonl").chmod(0o644)

    ((level, what),) = offline(place).of("files.modes")

    assert level == "warning"
    assert "anchors.jsonl" in what
    assert "inbox" not in what


def test_a_home_that_is_no_folder_is_a_fault(place: Installation) -> None:
    place.variables["SEIKYU_HOME"] = str(place.config / "policy.toml")

    assert offline(place).level("files.home") == "fault"


@pytest.mark.skipif(os.geteuid() == 0, reason="for root no folder is read-only")
def test_a_home_that_cannot_be_written_to_is_a_fault(place: Installation) -> None:
    place.home.chmod(0o500)
    report = offline(place)
    place.home.chmod(0o700)

    assert report.level("files.home") == "fault"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_a_warning(place: Installation) -> None:
    (place.home / "anchors.jsonl").touch(mode=0o600)
    os.chown(place.home / "anchors.jsonl", 12345, 12345)

    assert offline(place).level("files.owner") == "warning"


def test_how_much_room_is_enough() -> None:
    assert [room(free).level for free in (NO_ROOM - 1, NO_ROOM, LITTLE_ROOM - 1, LITTLE_ROOM)] == [
        "fault",
        "warning",
        "warning",
        "ok",
    ]


# what a test cannot bring about for real


@dataclass
class Told:
    """A patient whose database is as a test says."""

    time: datetime | None = None
    found: Soundness | None = None

    @property
    def clock(self) -> Past:
        return Past(0)

    def condition(self) -> Condition:
        return Condition("postgres", 9, 9, "18", self.time)

    def soundness(self, *, seconds: int) -> Soundness | None:
        return self.found


@pytest.mark.parametrize(
    "found,level", [(Soundness(), "ok"), (Soundness("row 3"), "fault"), (Soundness(is_whole=False), "note")]
)
def test_a_database_file_is_sound_or_not_or_too_large_to_tell(found: Soundness, level: str) -> None:
    patient: Any = Told(found=found)

    assert [each.level for each in look_at_soundness(patient)] == [level]


@pytest.mark.parametrize("seconds,level", [(0, "ok"), (-58, "ok"), (58, "ok"), (-70, "fault"), (70, "fault")])
def test_the_clock_of_postgres_may_be_a_minute_away(seconds: int, level: str) -> None:
    patient: Any = Told(datetime.now(UTC) + timedelta(seconds=seconds))

    found = {each.check: each.level for each in look_at_database(patient)}

    assert found["database.clock"] == level


def test_a_python_that_is_too_old_is_a_fault() -> None:
    assert [python(version).level for version in ((3, 10, 9), (3, 11, 0), (3, 14, 1))] == ["fault", "ok", "ok"]


def test_an_extra_that_is_missing_is_a_fault_only_where_it_is_needed() -> None:
    assert extra("postgres", "psycopg", is_needed=True).level == "ok"
    assert extra("postgres", "no_such_module", is_needed=True).level == "fault"
    assert extra("postgres", "no_such_module", is_needed=False).level == "note"


# the log and its witnesses


def one_record(home: Home) -> None:
    freezing.freeze(home.rooms().store, home.clock, os_user="suzuki", operator=None, reason="a reason")


def test_an_anchor_the_database_denies_is_a_fault(place: Installation) -> None:
    with_rows(place, one_record)
    well = offline(place)
    AnchorFile(place.home / "anchors.jsonl").keep(Anchor(at=timestamp(datetime.now(UTC)), records=1, head="0" * 64))

    report = offline(place)

    assert (well.level("log.witnesses"), report.level("log.witnesses")) == ("ok", "fault")


def test_an_anchor_line_that_cannot_be_read_is_a_warning(place: Installation) -> None:
    with_rows(place, one_record)
    (place.home / "anchors.jsonl").write_text("nonsense\n", encoding="utf-8")

    assert [level for level, _ in offline(place).of("log.anchors")] == ["warning"]


def test_a_log_that_grew_and_was_not_anchored_for_two_days_is_a_warning(place: Installation) -> None:
    def anchored(home: Home) -> None:
        one_record(home)
        with home.rooms().store.read() as tx:
            head = (tx.one("audit_head") or {})["hash"]
        old = timestamp(Past(2).now())
        AnchorFile(place.home / "anchors.jsonl").keep(Anchor(at=old, records=1, head=head))

    with_rows(place, anchored)
    quiet = offline(place)
    with_rows(place, one_record)

    assert (quiet.level("log.anchors"), offline(place).level("log.anchors")) == ("ok", "warning")


def test_a_line_of_the_journal_that_cannot_be_read_is_noted(place: Installation) -> None:
    with_rows(place, one_record)
    (place.home / "sent").mkdir(mode=0o700)
    (place.home / "sent" / "2026-11.jsonl").write_text("{cut sh", encoding="utf-8")

    assert offline(place).level("log.journal") == "note"


def test_anchors_that_have_not_reached_their_copy_are_a_warning(place: Installation) -> None:
    place.variables["SEIKYU_ANCHOR_COMMAND"] = "/bin/true"
    with_rows(place, one_record)
    none = offline(place)
    AnchorFile(place.home / "anchors.jsonl").keep(Anchor(at=timestamp(datetime.now(UTC)), records=1, head="0" * 64))

    assert (none.level("log.copies"), offline(place).level("log.copies")) == ("ok", "warning")
    assert not (place.home / "anchors.jsonl.copied").exists()


def test_a_record_from_the_future_tells_of_a_clock_that_was_set_back(place: Installation) -> None:
    with_rows(place, one_record)
    well = offline(place)
    with_rows(
        place,
        lambda home: freezing.freeze(home.rooms().store, Past(-1), os_user="suzuki", operator=None, reason="later"),
    )

    assert (well.level("clock.records"), offline(place).level("clock.records")) == ("ok", "fault")


# the gate


def test_a_freeze_is_told_with_its_reason(place: Installation) -> None:
    with_rows(place, enrol_two)
    free = offline(place)
    place.run("freeze", "--reason", "二重請求の疑い")

    ((level, what),) = offline(place).of("gate.freeze")

    assert (free.level("gate.freeze"), level) == ("ok", "warning")
    assert "二重請求の疑い" in what


def test_what_waits_for_a_person_is_counted(place: Installation) -> None:
    def propose(home: Home) -> None:
        terminal = Terminal(home)
        states = {"unknown": terminal.propose("AAAA-0001"), "manual_review": terminal.propose("AAAA-0002")}
        terminal.propose("AAAA-0003")
        with home.rooms().store.write() as tx:
            for state, action in states.items():
                tx.connection.execute("UPDATE action SET state = ? WHERE id = ?", (state, action.id))

    with_rows(place, enrol_two)
    before = offline(place)
    with_rows(place, propose)

    report = offline(place)

    assert before.level("actions.unknown") == "ok"
    assert report.of("actions.unknown") == [("warning", "The outcome of 1 action(s) is not known.")]
    assert report.of("actions.manual_review") == [("warning", "1 action(s) wait for a person's look.")]
    assert report.of("actions.awaiting") == [("note", "1 action(s) wait for approval.")]


def test_notices_that_are_stuck_or_were_given_up_are_a_warning(place: Installation) -> None:
    def tell(home: Home) -> None:
        hour_ago, now = timestamp(datetime.now(UTC) - timedelta(hours=1)), timestamp(datetime.now(UTC))
        rows = [("a", "n-1", hour_ago, "waiting"), ("b", "n-2", hour_ago, "given_up"), ("c", "n-3", now, "waiting")]
        with home.rooms().store.write() as tx:
            for channel, id_, at, state in rows:
                tx.connection.execute(
                    "INSERT INTO outbox (channel, id, kind, at, ja, en, state, tries, not_before, ended_at)"
                    " VALUES (?, ?, 'asked', ?, '', '', ?, 1, ?, ?)",
                    (channel, id_, at, state, at, now),
                )

    with_rows(place, enrol_two)
    before = offline(place)
    with_rows(place, tell)

    report = offline(place)

    assert before.level("outbox.stuck") == "ok"
    assert (report.level("outbox.stuck", "a"), report.level("outbox.lost", "b")) == ("warning", "warning")
    assert report.of("outbox.stuck", "c") == []


def test_whether_anybody_can_decide_is_told(place: Installation) -> None:
    with_rows(place, one_record)
    nobody = offline(place).of("operators.enrolled")
    with_rows(place, lambda home: enrol(home, "Suzuki"))
    themselves = offline(place).of("operators.enrolled")
    place.variables["SEIKYU_REQUESTER"] = "assistant"
    alone = offline(place).of("operators.enrolled")
    with_rows(place, lambda home: enrol(home, "sato"))
    two = offline(place).of("operators.enrolled")

    assert [level for ((level, _),) in (nobody, themselves, alone, two)] == ["warning", "warning", "note", "ok"]
    assert "only operator is the requester" in themselves[0][1]


# everybody outside


def test_each_connection_is_asked_and_no_token_is_renewed(twins: Twins, rehearsal: Installation) -> None:
    rehearsal.put_key("not the key")
    rehearsal.put_grant(tokens(rehearsal.invox_url), days_ago=1)

    report = Report(rehearsal)

    assert report.level("connections.live", MFK) == "fault"
    ((level, what),) = report.of("connections.live", INVOX)
    assert (level, "The access token is over" in what) == ("warning", True)
    assert twins.invox.oauth.refreshes == 0


def test_connections_without_a_login_are_a_warning(rehearsal: Installation) -> None:
    before_any_database = Report(rehearsal)
    with_rows(rehearsal, one_record)

    report = Report(rehearsal)

    for each in (before_any_database, report):
        assert [level for level, _ in each.of("connections.live")] == ["warning", "warning"]
        assert any("seikyu connect mfk-main" in step for step in each.steps("connections.live"))


def test_a_twin_that_does_not_run_is_a_fault(place: Installation) -> None:
    report = Report(place)

    assert report.level("connections.twin", MFK) == "fault"
    assert "seikyu sandbox --port 9" in report.steps("connections.twin")[0]


def test_a_clock_more_than_a_minute_away_from_the_providers_is_a_fault(tmp_path: Path) -> None:
    with twins_beside() as twins:
        place = Installation(tmp_path, twins)
        place.build()
        place.put_key(twins.mfkessai.api_key)
        close = Report(place)
        twins.advance(50)
        near = Report(place)
        twins.advance(15)
        far = Report(place)

    ((level, what),) = far.of("clock.provider")
    assert (close.level("clock.provider"), near.level("clock.provider"), level) == ("ok", "ok", "fault")
    assert "behind that of mfkessai" in what


@contextmanager
def slack(answer: dict[str, Any]) -> Generator[str]:
    """A Slack that says `answer` to everything."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "answer,level",
    [
        ({"ok": True, "team_id": "T01"}, "ok"),
        ({"ok": True, "team_id": "T02"}, "fault"),
        ({"ok": False, "error": "token_revoked"}, "fault"),
    ],
)
def test_the_slack_app_is_asked_whether_its_token_is_good(
    place: Installation, answer: dict[str, Any], level: str
) -> None:
    with slack(answer) as address:
        place.write_connections(
            f'\n[slack]\nteam = "T01"\napp = "A01"\nchannel = "C01"\nbase_url = "{address}"\n', company="x"
        )
        with_rows(place, one_record)
        without_token = Report(place)
        with_rows(place, keep_token)

        report = Report(place)

    assert without_token.level("slack.app") == "warning"
    assert report.level("slack.app") == level
    assert "xoxb" not in report.done.output


def keep_token(home: Home) -> None:
    app = home.settings.slack
    assert app is not None
    keep = Keepsakes(home.rooms().store, home.clock, home.key_ring).put_signing_secret
    keep(slack_place(app), SecretStr("a signing secret"), token=SecretStr("xoxb-a-token"))


def test_the_doors_are_told(place: Installation) -> None:
    shut = offline(place)
    place.variables |= {
        "SEIKYU_PUBLIC_HOST": "hooks.example.co.jp",
        "SEIKYU_APPROVALS_URL": "https://approve.example.co.jp/approvals",
    }
    odd = offline(place)
    place.variables["SEIKYU_APPROVALS_URL"] = "http://127.0.0.1:8787/approvals"

    assert "Nothing can be reached from outside" in shut.of("doors.public")[0][1]
    assert "hooks.example.co.jp" in odd.of("doors.public")[0][1]
    assert (odd.level("doors.approvals"), offline(place).level("doors.approvals")) == ("warning", "ok")


def test_slack_without_a_public_name_is_a_warning(place: Installation) -> None:
    place.write_connections('\n[slack]\nteam = "T01"\napp = "A01"\nchannel = "C01"\n')

    assert [level for level, _ in offline(place).of("doors.public")] == ["ok", "warning"]


# the clients

OURS = str(Path(sys.executable).with_name("seikyu"))


def configured(place: Installation, entry: dict[str, Any], *, key: str = "mcpServers", comment: str = "") -> Path:
    file = place.folder / ".cursor" / "mcp.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(comment + json.dumps({key: {"seikyu": entry, "other": {"env": {"TOKEN": "hush"}}}}), "utf-8")
    return file


def env_of(place: Installation) -> dict[str, str]:
    return {"SEIKYU_HOME": str(place.home), "SEIKYU_CONFIG": str(place.config)}


def test_a_client_that_starts_a_link_to_this_seikyu_is_well(place: Installation) -> None:
    link = place.folder / "seikyu"
    link.symlink_to(OURS)
    configured(place, {"command": str(link), "args": ["serve"], "env": env_of(place)})

    assert offline(place).of("clients.entry") == [("ok", "Cursor starts this Seikyu.")]


@pytest.mark.parametrize("command", [[OURS, "serve"], [sys.executable, "-m", "seikyu", "serve"]])
def test_a_client_that_starts_this_seikyu_is_well(place: Installation, command: list[str]) -> None:
    configured(place, {"command": command[0], "args": command[1:], "env": env_of(place)}, comment="// mine\n")

    report = offline(place)

    assert report.of("clients.entry") == [("ok", "Cursor starts this Seikyu.")]
    assert "hush" not in report.done.output


@pytest.mark.parametrize(
    "entry,level,said",
    [
        ({"command": "seikyu", "args": ["serve"]}, "warning", "not a whole path"),
        ({"command": "/nowhere/seikyu", "args": ["serve"]}, "fault", "does not exist"),
        ({"command": "/bin/true", "args": []}, "note", "installed elsewhere"),
        ({"command": OURS, "args": ["serve"]}, "note", "with other folders"),
        ({"command": OURS, "env": {"SEIKYU_MASTER_KEY": "hush"}}, "fault", "holds a master key"),
        ({"url": "http://127.0.0.1:8787/mcp"}, "ok", "over HTTP"),
    ],
)
def test_what_is_odd_about_a_clients_entry_is_told_and_nothing_of_it_is_shown(
    place: Installation, entry: dict[str, Any], level: str, said: str
) -> None:
    configured(place, entry)

    report = offline(place)

    ((found, what),) = report.of("clients.entry", "Cursor")
    assert (found, said in what) == (level, True)
    assert "hush" not in report.done.output


def test_a_clients_file_that_is_no_json_is_a_warning_and_none_at_all_is_noted(place: Installation) -> None:
    none = offline(place)
    configured(place, {}).write_text('{"mcpServers": hush', encoding="utf-8")

    report = offline(place)

    assert (none.level("clients.entry"), report.level("clients.entry")) == ("note", "warning")
    assert "hush" not in report.done.output


def test_a_clients_file_that_is_too_large_is_not_called_bad_json(place: Installation) -> None:
    configured(place, {}).write_bytes(b" " * (MOST_BYTES - 2) + b"{}\n")

    report = offline(place)

    ((level, said),) = report.of("clients.entry", "Cursor")
    assert (level, "TooLarge" in said) == ("warning", True)
    assert "Mend its JSON." not in report.steps("clients.entry")


@pytest.mark.parametrize("trap", ['{"a": "' + '\\"' * 60_000, "/* " * 60_000])
def test_a_file_that_somebody_made_to_be_slow_to_read_does_not_hold_the_doctor_up(
    place: Installation, trap: str
) -> None:
    configured(place, {}).write_text(trap, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "seikyu", "doctor", "--offline", "--json"],
        env=os.environ | place.environment,
        capture_output=True,
        check=False,
        timeout=20,
    )

    levels = {each["check"]: each["level"] for each in json.loads(done.stdout)["findings"]}
    assert (done.returncode, levels["clients.entry"]) == (0, "warning")


def test_a_folder_of_nobody_in_a_clients_entry_is_another_folder(place: Installation) -> None:
    configured(place, {"command": OURS, "env": env_of(place) | {"SEIKYU_HOME": "~nobody-of-ours/seikyu"}})

    ((level, said),) = offline(place).of("clients.entry")

    assert (level, "(SEIKYU_HOME)" in said) == ("note", True)


def test_a_project_of_claude_code_counts_too(place: Installation) -> None:
    entry = {"command": OURS, "env": env_of(place)}
    file = place.folder / ".claude.json"
    file.write_text(json.dumps({"projects": {"/a": {"mcpServers": {"seikyu": entry}}}}), encoding="utf-8")

    assert offline(place).of("clients.entry") == [("ok", "Claude Code starts this Seikyu.")]


@pytest.mark.parametrize(
    "platform,environ,folder",
    [
        ("darwin", {"HOME": "/h"}, "/h/Library/Application Support"),
        ("linux", {"HOME": "/h"}, "/h/.config"),
        ("win32", {"USERPROFILE": "/h", "APPDATA": "/h/Roaming"}, "/h/Roaming"),
    ],
)
def test_clients_keep_their_files_where_their_system_has_them(
    platform: str, environ: dict[str, str], folder: str
) -> None:
    files = [str(client.file) for client in places(environ, platform, Path("/p"))]

    assert files == [
        f"{folder}/Claude/claude_desktop_config.json",
        "/h/.claude.json",
        "/p/.mcp.json",
        "/h/.cursor/mcp.json",
        "/p/.cursor/mcp.json",
        f"{folder}/Code/User/mcp.json",
        "/p/.vscode/mcp.json",
    ]
