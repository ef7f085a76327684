"""The audit log against somebody who can write the database."""

from __future__ import annotations

import json
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.forgery import restamp
from gate.stage import Stage
from gate.traces import warned
from seikyu.errors import ConfigurationError, StoreDamaged, Text
from seikyu.gate import audit
from seikyu.gate.anchors import EVERY_RECORDS, Anchor, AnchorFile, Anchoring, AnchorLines, parsed
from seikyu.gate.pardons import Pardon
from seikyu.models import timestamp
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

    assert [record.message[:29] for record in warned(caplog)] == ["the audit log is not anchored"]


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


@pytest.mark.parametrize(
    "count,hours,anchored",
    [(EVERY_RECORDS - 1, 0, False), (EVERY_RECORDS, 0, True), (1, 23, False), (1, 24, True), (0, 48, False)],
)
def test_an_anchor_is_due_at_the_hundredth_new_record_or_with_a_new_one_after_exactly_a_day(
    stage: Stage, count: int, hours: int, *, anchored: bool
) -> None:
    stage.propose("A-1", 100_000)
    keeper = anchoring(stage)
    keeper.keep_up()
    with stage.store.write() as tx:
        for _ in range(count):
            audit.append(tx, stage.clock.now(), "seen")
    stage.clock.advance(hours=hours)

    keeper.keep_up()

    assert records(stage) == ([1, 1 + count] if anchored else [1])


def test_a_fault_is_logged_again_when_there_was_a_good_time_between(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.propose("A-1", 100_000)
    keeper, path = anchoring(stage), stage.settings.anchors_file

    for _ in range(2):
        path.mkdir()
        keeper.keep_up(at_once=True)
        path.rmdir()
        keeper.keep_up(at_once=True)
        path.unlink()
        stage.propose(f"A-{len(warned(caplog))}-more", 50_000)

    assert [record.levelname for record in warned(caplog)] == ["WARNING", "WARNING"]


def test_a_log_that_vanished_is_not_anchored_and_an_empty_one_has_nothing_to_anchor(stage: Stage) -> None:
    keeper = anchoring(stage)
    nothing = keeper.anchor()
    stage.propose("A-1", 100_000)
    keeper.anchor()
    connection = raw(stage)
    connection.execute("DELETE FROM audit")
    connection.close()

    with pytest.raises(StoreDamaged, match="shorter than its last anchor"):
        keeper.anchor()
    assert (nothing, records(stage)) == (None, [1])


def test_the_file_and_its_folders_are_made_private_and_its_size_is_known(tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "a" / "b" / "anchors.jsonl")
    before = (file.size(), file.read())
    kept = [Anchor(at="2026-11-21T03:00:00.000000Z", records=number, head="a" * 64) for number in (1, 2)]

    for anchor in kept:
        file.keep(anchor)

    content = "".join(f"{anchor.model_dump_json()}\n" for anchor in kept)
    assert before == (0, AnchorLines())
    assert file.path.read_text(encoding="utf-8") == content
    assert (file.size(), file.read()) == (len(content), AnchorLines(tuple(kept)))
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b"\xff",
        b'{"at":"2026-11-21T03:00:00.000000Z","records":0,"head":"' + b"a" * 64 + b'"}',
        b'{"at":"2026-11-21T03:00:00.000000Z","records":1,"head":"' + b"a" * 63 + b'"}',
        b'{"at":"someday","records":1,"head":"' + b"a" * 64 + b'"}',
    ],
    ids=["empty", "null", "deep", "no text", "no record", "short", "no moment"],
)
def test_a_line_that_is_no_anchor_is_none(line: bytes) -> None:
    assert parsed(line) is None


def test_after_a_restore_a_running_server_goes_on_from_the_anchor_that_was_made_since(stage: Stage) -> None:
    keeper = anchoring(stage)
    with stage.store.write() as tx:
        for _ in range(2 * EVERY_RECORDS):
            audit.append(tx, stage.clock.now(), "seen")
    keeper.keep_up()
    connection = raw(stage)
    connection.execute("DELETE FROM audit WHERE seq > ?", (EVERY_RECORDS + 5,))
    connection.close()
    AnchorFile(stage.settings.anchors_file).keep(Anchor(at=timestamp(stage.clock.now()), records=5, head="a" * 64))

    keeper.keep_up()

    assert records(stage) == [200, 5, 105]


def test_whoever_asks_for_it_at_once_gets_an_anchor_of_anything_new_and_none_of_nothing(stage: Stage) -> None:
    keeper = anchoring(stage)
    for count in (1, 0, 1):
        with stage.store.write() as tx:
            for _ in range(count):
                audit.append(tx, stage.clock.now(), "seen")
        keeper.keep_up(at_once=True)

    assert records(stage) == [1, 2]


@pytest.mark.parametrize(
    "records,at,is_covered",
    [
        (5, "2026-11-20T12:00:00.000000Z", False),
        (6, "2026-11-20T12:00:00.000000Z", True),
        (6, "2026-11-20T12:00:00.000001Z", False),
        (99, "2026-11-19T12:00:00.000000Z", True),
    ],
)
def test_a_pardon_covers_what_is_past_its_record_and_not_past_its_moment(
    records: int, at: str, *, is_covered: bool
) -> None:
    pardon = Pardon(5, datetime(2026, 11, 20, 12, tzinfo=UTC), "tanaka", "2026-11-21T03:00:00.000000Z")

    assert pardon.covers(Anchor(at=at, records=records, head="a" * 64)) is is_covered
    assert pardon.text == Text(
        "復元前の記録の控えです（2026-11-21 に tanaka が確認済み）",
        "it is of the log before a restored backup, acknowledged by tanaka on 2026-11-21",
    )
