"""The audit log: what a row holds, and everything a verification tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest

from gate.forgery import write_log
from gate.stage import Stage
from seikyu.errors import Text
from seikyu.gate import audit
from seikyu.gate.anchors import Anchor, AnchorLines
from seikyu.gate.audit import GENESIS, AuditReport
from seikyu.gate.canonical import canonical, sha256
from seikyu.models import timestamp

LATER = "2026-11-22T00:00:00.000000Z"


def rows(stage: Stage) -> list[dict[str, object]]:
    with stage.store.read() as tx:
        return [dict(row) for row in tx.all("audit_page", after=0, limit=9)]


def append(stage: Stage, *kinds: str) -> None:
    with stage.store.write() as tx:
        for kind in kinds:
            audit.append(tx, stage.clock.now(), kind, by="tanaka", why="見た")


def anchor(stage: Stage, records: int, *, at: str = LATER, head: str | None = None) -> Anchor:
    return Anchor(at=at, records=records, head=head or str(rows(stage)[records - 1]["hash"]))


@contextmanager
def owned(stage: Stage) -> Generator[sqlite3.Connection]:
    """The database in the hands of somebody who owns it."""
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("DROP TRIGGER audit_is_never_deleted")
        yield raw


def test_a_row_is_sealed_to_the_one_before_by_the_hash_of_all_it_says(stage: Stage) -> None:
    append(stage, "first", "second")

    first, second = rows(stage)
    content = {
        "seq": 1,
        "at": timestamp(stage.clock.now()),
        "kind": "first",
        "action_id": None,
        "record": '{"by":"tanaka","why":"見た"}',
        "prev": GENESIS,
    }
    assert first == content | {"hash": sha256(canonical(content))}
    content |= {"seq": 2, "kind": "second", "prev": first["hash"]}
    assert second == content | {"hash": sha256(canonical(content))}
    assert audit.verify(stage.store) == AuditReport(2, str(second["hash"]), 0, ())


def test_an_empty_log_is_as_it_was_written(stage: Stage) -> None:
    report = audit.verify(stage.store)

    assert (report, report.fault) == (AuditReport(0, GENESIS, 0, ()), None)


@pytest.mark.parametrize(
    "statement,ja,en",
    [
        ("DELETE FROM audit WHERE seq = 2", "記録 2 がありません", "record 2 is missing"),
        (
            "UPDATE audit SET prev = hash WHERE seq = 2",
            "記録 2 は記録 1 に続いていません",
            "record 2 does not follow record 1",
        ),
        ("UPDATE audit SET record = '{}' WHERE seq = 2", "記録 2 が変更されています", "record 2 was changed"),
        ("UPDATE audit SET kind = x'00' WHERE seq = 2", "記録 2 が変更されています", "record 2 was changed"),
        ("UPDATE audit SET seq = 0 WHERE seq = 1", "記録 0 は最初の記録より前です", "record 0 is before the first"),
    ],
)
def test_a_broken_chain_is_told_where_it_breaks_and_counted_up_to_there(
    stage: Stage, statement: str, ja: str, en: str
) -> None:
    append(stage, "first", "second", "third")
    head = rows(stage)[0]["hash"]
    with owned(stage) as raw:
        raw.execute(statement)

    report = audit.verify(stage.store)

    sound = (0, GENESIS) if "record 0" in en else (1, str(head))
    assert report == AuditReport(*sound, 0, (Text(ja, en),))
    assert report.fault == en


def test_every_anchor_is_held_against_the_chain_and_each_that_differs_is_told(stage: Stage) -> None:
    append(stage, "first", "second", "third")
    right = anchor(stage, 1)
    lying = (
        anchor(stage, 2, head="a" * 64),
        anchor(stage, 2, at="2026-11-23T00:00:00.000000Z", head="b" * 64),
        anchor(stage, 3, head="c" * 64),
    )
    beyond = (
        Anchor(at=LATER, records=9, head="d" * 64),
        Anchor(at="2026-11-20T00:00:00.000000Z", records=4, head="e" * 64),
    )

    report = audit.verify(stage.store, AnchorLines((right, *lying, right, *beyond), unreadable=(5, 7)))

    assert (report.rows, report.head, report.anchors) == (3, rows(stage)[2]["hash"], 7)
    assert [fault.en for fault in report.faults] == [
        f"record 2 is not what the anchor of {LATER} says",
        "record 2 is not what the anchor of 2026-11-23T00:00:00.000000Z says",
        f"record 3 is not what the anchor of {LATER} says",
        "the log ends at record 3, but the anchor of 2026-11-20T00:00:00.000000Z says 4",
        f"the log ends at record 3, but the anchor of {LATER} says 9",
        "line 5 of the anchor file is not an anchor",
        "line 7 of the anchor file is not an anchor",
    ]
    assert report.faults[0].ja == f"記録 2 が {LATER} の控えと違います"
    assert report.faults[3].ja == "記録は 3 で終わっていますが、2026-11-20T00:00:00.000000Z の控えでは 4 まであります"
    assert report.faults[5].ja == "控えのファイルの5行目を読めません"


def test_a_broken_chain_still_says_which_anchors_it_denied_and_not_that_it_ends_early(stage: Stage) -> None:
    append(stage, "first", "second", "third")
    anchors = (anchor(stage, 1, head="a" * 64), anchor(stage, 3))
    with owned(stage) as raw:
        raw.execute("DELETE FROM audit WHERE seq = 2")

    report = audit.verify(stage.store, AnchorLines(anchors))

    assert [fault.en for fault in report.faults] == [
        "record 2 is missing",
        f"record 1 is not what the anchor of {LATER} says",
    ]


def test_a_broken_chain_is_no_witness_against_the_rows_and_a_whole_one_is(stage: Stage) -> None:
    stage.propose("A-1", 50_000)
    stage.propose("A-2", 50_001)
    with owned(stage) as raw:
        raw.execute("UPDATE action SET requester = 'ito'")
    contradicted = audit.verify(stage.store)
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("UPDATE audit SET record = '{}' WHERE seq = 1")

    broken = audit.verify(stage.store)

    assert len(contradicted.faults) == 2
    assert [fault.en for fault in broken.faults] == ["record 1 was changed"]


def test_a_log_longer_than_a_page_is_walked_to_its_end(stage: Stage) -> None:
    append(stage, "first")
    with owned(stage) as raw:
        write_log(raw, [(0, LATER, "seen", None, "{}", "", "")] * 1002, is_stamped=True)
    whole = audit.verify(stage.store)
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("UPDATE audit SET kind = 'other' WHERE seq = 1002")

    changed = audit.verify(stage.store)

    assert (whole.rows, whole.faults) == (1002, ())
    assert (changed.rows, changed.fault) == (1001, "record 1002 was changed")


def test_the_history_of_an_action_is_its_own_rows_from_the_oldest(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    with stage.store.write() as tx:
        audit.append(tx, stage.clock.now(), "other", "act-other", by="ito")
        audit.append(tx, stage.clock.now(), "seen", action.id, by="tanaka")

    with stage.store.read() as tx:
        [proposed, seen] = audit.history(tx, action.id)

    assert (proposed["seq"], proposed["kind"], proposed["requester"]) == (1, "proposed", "suzuki")
    assert seen == {"seq": 3, "at": timestamp(stage.clock.now()), "kind": "seen", "by": "tanaka"}
