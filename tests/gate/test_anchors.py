"""The audit log against somebody who can write the database."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path

import pytest

from gate.forgery import restamp
from gate.stage import Stage
from seikyu.errors import ConfigurationError, StoreDamaged
from seikyu.gate import audit
from seikyu.gate.anchors import EVERY_RECORDS, AnchorFile, Anchoring, AnchorLines
from seikyu.settings import read_settings


def anchoring(stage: Stage) -> Anchoring:
    return Anchoring(stage.store, stage.clock, AnchorFile(stage.settings.anchors_file))


def lines(stage: Stage) -> AnchorLines:
    return AnchorFile(stage.settings.anchors_file).read()


def records(stage: Stage) -> list[int]:
    return [anchor.records for anchor in lines(stage).anchors]


def raw(stage: Stage) -> sqlite3.Connection:
    """The database in the hands of somebody who owns it."""
    connection = sqlite3.connect(stage.settings.database, isolation_level=None)
    connection.execute("DROP TRIGGER audit_is_never_updated")
    connection.execute("DROP TRIGGER audit_is_never_deleted")
    return connection


def test_an_anchor_is_one_private_line_outside_the_database(stage: Stage) -> None:
    stage.propose("A-1", 100_000)

    kept = anchoring(stage).anchor()

    [line] = stage.settings.anchors_file.read_text(encoding="utf-8").splitlines()
    head = audit.verify(stage.store).head
    assert json.loads(line) == {"at": "2026-11-21T03:00:00.000000Z", "records": 1, "head": head}
    assert lines(stage).anchors == (kept,)
    assert stat.S_IMODE(stage.settings.anchors_file.stat().st_mode) == 0o600


def test_a_server_anchors_its_first_record_then_every_hundred_or_once_a_day(stage: Stage) -> None:
    keeper = anchoring(stage)
    keeper.keep_up()
    assert records(stage) == []

    for number in range(EVERY_RECORDS + 2):
        stage.propose(f"A-{number}", 10_000 + number)
        keeper.keep_up()
    stage.clock.advance(hours=23)
    keeper.keep_up()
    assert records(stage) == [1, EVERY_RECORDS + 1]

    stage.clock.advance(hours=2)
    keeper.keep_up()
    stage.clock.advance(hours=25)
    keeper.keep_up()

    assert records(stage) == [1, EVERY_RECORDS + 1, EVERY_RECORDS + 2]


def test_two_servers_of_one_installation_do_not_anchor_the_same_twice(stage: Stage) -> None:
    stage.propose("A-1", 100_000)
    first, second = anchoring(stage), anchoring(stage)

    first.keep_up(at_once=True)
    second.keep_up(at_once=True)

    assert records(stage) == [1]


def test_a_file_that_cannot_be_written_is_logged_once_and_stops_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.settings.anchors_file.mkdir()
    stage.propose("A-1", 100_000)
    keeper = anchoring(stage)

    keeper.keep_up()
    keeper.keep_up()

    assert [record.message[:29] for record in caplog.records] == ["the audit log is not anchored"]


def test_a_chain_written_anew_holds_by_itself_and_not_against_an_anchor(stage: Stage) -> None:
    for number in range(3):
        stage.propose(f"A-{number}", 100_000 + number)
    anchoring(stage).anchor()
    connection = raw(stage)
    connection.execute("UPDATE audit SET record = replace(record, 'suzuki', 'yamada') WHERE seq = 2")
    restamp(connection)
    connection.close()

    alone, anchored = audit.verify(stage.store), audit.verify(stage.store, lines(stage))

    assert alone.fault is None
    assert anchored.fault == "record 3 is not what the anchor of 2026-11-21T03:00:00.000000Z says"


def test_a_log_whose_end_was_cut_off_is_found_by_its_anchor(stage: Stage) -> None:
    for number in range(3):
        stage.propose(f"A-{number}", 100_000 + number)
    keeper = anchoring(stage)
    keeper.anchor()
    connection = raw(stage)
    connection.execute("DELETE FROM audit WHERE seq > 1")
    connection.close()

    report = audit.verify(stage.store, lines(stage))

    said = "the log ends at record 1, but the anchor of 2026-11-21T03:00:00.000000Z says 3"
    assert report.fault == said
    assert report.anchors == 1
    with pytest.raises(StoreDamaged):
        keeper.anchor()


def test_a_record_before_the_first_is_found(stage: Stage) -> None:
    stage.propose("A-1", 100_000)
    connection = raw(stage)
    connection.execute("INSERT INTO audit SELECT 0, at, kind, action_id, record, prev, 'x' FROM audit")
    connection.close()

    assert audit.verify(stage.store).fault == "record 0 is before the first"


def test_a_line_cut_short_by_a_crash_is_named_and_the_next_one_stands_by_itself(stage: Stage) -> None:
    stage.propose("A-1", 100_000)
    keeper = anchoring(stage)
    keeper.anchor()
    with stage.settings.anchors_file.open("a", encoding="utf-8") as file:
        file.write('{"at":"2026-11')

    keeper.anchor()

    assert records(stage) == [1, 1]
    assert audit.verify(stage.store, lines(stage)).fault == "line 2 of the anchor file is not an anchor"


def test_the_anchor_file_may_lie_elsewhere_but_not_in_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEIKYU_HOME", str(tmp_path))
    assert read_settings(tmp_path).anchors_file == tmp_path / "anchors.jsonl"
    monkeypatch.setenv("SEIKYU_AUDIT_ANCHORS", str(tmp_path / "elsewhere" / "a.jsonl"))
    assert read_settings(tmp_path).anchors_file == tmp_path / "elsewhere" / "a.jsonl"
    monkeypatch.setenv("SEIKYU_AUDIT_ANCHORS", str(tmp_path / "seikyu.db-wal"))
    with pytest.raises(ConfigurationError):
        read_settings(tmp_path)
