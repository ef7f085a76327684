"""Rows that were changed behind the log's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest

from gate.forgery import restamp
from gate.stage import Stage
from seikyu.errors import Text
from seikyu.gate import audit, witness
from seikyu.gate.actions import Action, State, row_of
from seikyu.gate.papers import papers_of
from seikyu.gate.votes import Ballot
from seikyu.gate.witness import (
    ACTION_COLUMNS,
    MANDATE_COLUMNS,
    OPERATOR_COLUMNS,
    REVISION_COLUMNS,
    TIMING_COLUMNS,
    VOTE_COLUMNS,
)


async def decided(stage: Stage) -> Action:
    """A done action that one operator approved, beside one that waits."""
    key = stage.enrol("tanaka")
    action = stage.approve(stage.propose("A-1", 100_000), key)
    stage.propose("A-2", 120_000)
    return await stage.executor.execute(action.id)


def faults(stage: Stage) -> list[str]:
    return [fault.en for fault in audit.verify(stage.store).faults]


def tamper(stage: Stage, statement: str, *values: object) -> None:
    with sqlite3.connect(stage.settings.database) as raw:
        assert raw.execute(statement, values).rowcount > 0
    raw.close()


@contextmanager
def changed(stage: Stage, table: str, column: str, action_id: str) -> Generator[None]:
    """One column of one action's row is another inside the block."""
    key = "id" if table == "action" else "action_id"
    with sqlite3.connect(stage.settings.database) as raw:
        [(before,)] = raw.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (action_id,))  # noqa: S608
    raw.close()
    put = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608 - our own names
    tamper(stage, put, f"{before}1", action_id)
    yield
    tamper(stage, put, before, action_id)


@contextmanager
def altered(stage: Stage, statement: str, *values: object) -> Generator[None]:
    """The database with something else in it inside the block, and as it was before after it."""
    with closing(sqlite3.connect(stage.settings.database)) as raw, closing(sqlite3.connect(":memory:")) as copy:
        raw.backup(copy)
        tamper(stage, statement, *values)
        yield
        copy.backup(raw)


async def test_what_nobody_touched_agrees_with_the_log(stage: Stage) -> None:
    await decided(stage)

    assert faults(stage) == []


async def test_an_action_changed_in_any_column_is_named(stage: Stage) -> None:
    action = await decided(stage)

    for column in (*ACTION_COLUMNS[2:], *TIMING_COLUMNS):
        with changed(stage, "action", column, action.id):
            assert faults(stage) == [f"action {action.id} is not what the log says it is"], column

    assert faults(stage) == []


async def test_a_vote_changed_in_any_column_is_named_with_its_action(stage: Stage) -> None:
    action = await decided(stage)

    for column in VOTE_COLUMNS[1:]:
        with changed(stage, "vote", column, action.id):
            assert faults(stage) == [f"the votes on action {action.id} are not those the log says"], column

    assert faults(stage) == []


async def test_a_vote_that_was_never_cast_or_was_taken_away_is_found(stage: Stage) -> None:
    action = await decided(stage)
    said = [f"the votes on action {action.id} are not those the log says"]

    tamper(stage, "INSERT INTO vote SELECT action_id, 2, operator, decision, statement, seal, via, voted_at FROM vote")
    added = faults(stage)
    tamper(stage, "DELETE FROM vote")

    assert (added, faults(stage)) == (said, said)


async def test_an_action_that_was_deleted_or_slipped_in_is_named(stage: Stage) -> None:
    action = await decided(stage)
    tamper(stage, "UPDATE action SET id = 'act-new' WHERE id <> ?", action.id)

    [added, gone] = faults(stage)

    assert added == "action act-new is not what the log says it is"
    assert gone.endswith("is in the log and nowhere else")


async def test_putting_an_action_off_and_looking_it_up_is_no_fault(stage: Stage) -> None:
    action = await decided(stage)
    waiting = stage.propose("A-3", 130_000)

    stage.claims.postpone(waiting.id, seconds=60)
    stage.claims.postpone(action.id, seconds=60)

    assert stage.find(action.id).not_before is None
    assert faults(stage) == []


async def test_what_a_log_of_an_earlier_version_says_is_still_held_against_the_rows(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)
    stage.ballots.cast(Ballot(action.id, action.digest, "reject", "no"), key)
    with stage.store.write() as tx:  # as it was logged before the rows' hashes
        audit.append(tx, stage.clock.now(), "rejected", action.id, state=State.REJECTED.value, digest=action.digest)
    assert faults(stage) == []

    tamper(stage, "UPDATE action SET state = 'succeeded'")

    assert faults(stage) == [f"action {action.id} is not what the log says it is"]


async def test_an_edit_changed_in_any_column_added_or_taken_away_is_named_with_its_action(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.revisions.revise(stage.draft(stage.propose("A-1", 100_000), 90_000), key=key)
    said = [f"the edits of action {action.id} are not those the log says"]
    assert faults(stage) == []

    for column in REVISION_COLUMNS[1:]:
        with changed(stage, "revision", column, action.id):
            assert faults(stage) == said, column
    tamper(stage, "INSERT INTO revision SELECT action_id, 3, editor, call_digest, statement, seal FROM revision")
    added = faults(stage)
    tamper(stage, "DELETE FROM revision")

    assert (added, faults(stage)) == (said, said)


def test_every_column_of_an_action_a_vote_and_an_edit_is_witnessed(stage: Stage) -> None:
    with stage.store.read() as tx:
        actions = {row[1] for row in tx.connection.execute("PRAGMA table_info(action)")}
        votes = {row[1] for row in tx.connection.execute("PRAGMA table_info(vote)")}
        edits = {row[1] for row in tx.connection.execute("PRAGMA table_info(revision)")}

    assert actions == {*ACTION_COLUMNS, *TIMING_COLUMNS}, "a new column belongs into ACTION_COLUMNS, empty in old rows"
    assert votes == set(VOTE_COLUMNS)
    assert edits == set(REVISION_COLUMNS)


@pytest.mark.parametrize("column", MANDATE_COLUMNS[1:])
def test_a_mandate_changed_in_any_column_is_named(stage: Stage, column: str) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)
    assert faults(stage) == []

    with altered(stage, f"UPDATE mandate SET {column} = 'x' WHERE seq = 2"):  # noqa: S608
        found = faults(stage)

    assert found == ["mandate 2 is not what the log says it is"]


def test_a_mandate_that_was_slipped_in_or_taken_away_is_named(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)

    with altered(stage, "INSERT INTO mandate SELECT 3, statement, seal FROM mandate WHERE seq = 1"):
        added = faults(stage)
    with altered(stage, "DELETE FROM mandate WHERE seq < 3"):
        gone = faults(stage)

    assert added == ["mandate 3 is not what the log says it is"]
    assert gone == [f"mandate {seq} is not what the log says it is" for seq in (1, 2)]


def test_an_operator_changed_in_any_column_slipped_in_or_taken_away_is_named(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)
    for name in ("count", "wait"):  # the count of wrong passphrases is nobody's secret
        column = {"count": "failures = 2", "wait": "locked_until = '2026-11-21T00:00:00.000000Z'"}[name]
        tamper(stage, f"UPDATE operator SET {column}")  # noqa: S608
    assert faults(stage) == []

    for column in OPERATOR_COLUMNS[1:]:
        with altered(stage, f"UPDATE operator SET {column} = 'x' WHERE name = 'sato'"):  # noqa: S608
            assert faults(stage) == ["operator sato is not what the log says they are"], column
    with altered(stage, "UPDATE operator SET enrolled_at = x'00' WHERE name = 'sato'"):
        assert faults(stage) == ["operator sato is not what the log says they are"]
    with altered(stage, "UPDATE operator SET name = 'mallory' WHERE name = 'sato'"):
        assert faults(stage) == [f"operator {name} is not what the log says they are" for name in ("mallory", "sato")]

    assert faults(stage) == []


@pytest.mark.parametrize("record", ["x", "[]", "7", "null"])
def test_a_record_that_cannot_be_read_is_named_and_the_others_are_heard(stage: Stage, record: str) -> None:
    action = stage.propose("A-1", 100_000)
    with stage.store.write() as tx:
        audit.append(tx, stage.clock.now(), "odd")
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("DROP TRIGGER audit_is_never_deleted")
        raw.execute("UPDATE audit SET record = ? WHERE seq = 2", (record,))
        restamp(raw)

    assert faults(stage) == ["record 2 cannot be read"]
    tamper(stage, "UPDATE action SET surface = 'x'")
    assert faults(stage) == ["record 2 cannot be read", f"action {action.id} is not what the log says it is"]


@pytest.mark.parametrize(
    "change",
    [
        "state = 'rejected'",
        "digest = 'x'",
        "canonical = '{}'",
        "canonical = x'ff'",
        "canonical = 7.5",
        "surface = x'00'",
    ],
)
def test_an_action_of_any_kind_of_nonsense_is_named_and_not_a_crash(stage: Stage, change: str) -> None:
    action = stage.propose("A-1", 100_000)
    tamper(stage, f"UPDATE action SET {change}")  # noqa: S608

    assert faults(stage) == [f"action {action.id} is not what the log says it is"]
    with stage.store.read() as tx:
        doubt = audit.doubt(tx, row_of(tx, action.id), papers_of(tx, action.id))
    assert doubt == audit.Doubt(
        Text(
            f"申請 {action.id} が、記録にない形で変更されています",
            f"action {action.id} is not what the log says it is",
        ),
        was_claimed=False,
    )


@pytest.mark.parametrize("change", ["statement = x'ff'", "seal = x'00'", "via = 1.5"])
async def test_a_vote_of_any_kind_of_nonsense_is_named_and_not_a_crash(stage: Stage, change: str) -> None:
    action = await decided(stage)
    tamper(stage, f"UPDATE vote SET {change}")  # noqa: S608

    assert faults(stage) == [f"the votes on action {action.id} are not those the log says"]


@pytest.mark.parametrize("change", ["statement = x'ff'", "seal = x'00'"])
def test_an_edit_of_any_kind_of_nonsense_is_named_and_not_a_crash(stage: Stage, change: str) -> None:
    action = stage.revisions.revise(stage.draft(stage.propose("A-1", 100_000), 90_000))
    tamper(stage, f"UPDATE revision SET {change}")  # noqa: S608

    assert faults(stage) == [f"the edits of action {action.id} are not those the log says"]


async def test_everything_that_is_wrong_is_named_once_and_in_order(stage: Stage) -> None:
    action = await decided(stage)
    other = stage.revisions.revise(stage.draft(stage.propose("A-3", 150_000), 140_000))
    tamper(stage, "UPDATE action SET surface = 'x'")
    tamper(stage, "UPDATE vote SET via = 'web'")
    tamper(stage, "DELETE FROM revision")
    tamper(stage, "UPDATE operator SET enrolled_at = 'x'")

    found = audit.verify(stage.store).faults

    waiting = stage.desk.page(requester=None, state="awaiting_approval", limit=9, cursor=None).actions
    changed_ = sorted({action.id, *(one.id for one in waiting)})
    assert [fault.en for fault in found] == [
        *(f"action {one} is not what the log says it is" for one in changed_),
        f"the votes on action {action.id} are not those the log says",
        f"the edits of action {other.id} are not those the log says",
        "operator tanaka is not what the log says they are",
    ]
    assert [fault.ja for fault in found] == [
        *(f"申請 {one} が、記録にない形で変更されています" for one in changed_),
        f"申請 {action.id} の決定が記録と一致しません",
        f"申請 {other.id} の修正が記録と一致しません",
        "操作者 tanaka が履歴と一致しません",
    ]


def test_what_is_over_is_held_against_the_log_down_to_when_it_last_moved(stage: Stage) -> None:
    action = stage.propose("A-1", 6_000_000)
    for column in TIMING_COLUMNS:
        with changed(stage, "action", column, action.id):
            assert faults(stage) == [f"action {action.id} is not what the log says it is"], column
    waiting = stage.propose("A-2", 100_000)
    for column in TIMING_COLUMNS:
        with changed(stage, "action", column, waiting.id):  # what is no time at all is found there too
            assert faults(stage) == [f"action {waiting.id} is not what the log says it is"], column
        with altered(stage, f"UPDATE action SET {column} = '2026-11-22T03:00:00.000000Z' WHERE id = ?", waiting.id):  # noqa: S608
            assert faults(stage) == [], column


def test_more_actions_than_one_look_takes_are_all_looked_at(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "_PAGE", 2)
    made = list[Action]()
    for number in range(5):
        made.append(stage.propose(f"A-{number}", 100_000 + number))
        stage.clock.advance(seconds=1)

    for action in made:
        with changed(stage, "action", "surface", action.id):
            assert faults(stage) == [f"action {action.id} is not what the log says it is"]
    tamper(stage, "DELETE FROM action WHERE id = ?", made[4].id)
    assert faults(stage) == [f"action {made[4].id} is in the log and nowhere else"]


async def test_a_log_row_that_was_changed_alone_stops_its_action_and_is_named(stage: Stage) -> None:
    action = stage.approve(stage.propose("A-1", 100_000), stage.enrol("tanaka"))
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("UPDATE audit SET at = '2026-01-01T00:00:00.000000Z' WHERE kind = 'proposed'")
        [(seq,)] = raw.execute("SELECT seq FROM audit WHERE kind = 'proposed'")

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.REVOKED, 0)
    assert after.outcome_text == Text(f"記録 {seq} が変更されています", f"record {seq} was changed")


async def test_a_seal_that_was_changed_with_the_whole_log_is_no_approval_and_raises_an_alarm(stage: Stage) -> None:
    action = stage.approve(stage.propose("A-1", 100_000), stage.enrol("tanaka"))
    with stage.store.read() as tx:
        [vote] = tx.all("votes_of", action_id=action.id)
    forged = {**vote, "seal": vote["seal"][::-1]}
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("DROP TRIGGER audit_is_never_deleted")
        raw.execute("UPDATE vote SET seal = ?", (forged["seal"],))
        hashes = (witness.vote_hash(vote), witness.vote_hash(forged))
        raw.execute("UPDATE audit SET record = replace(record, ?, ?)", hashes)
        restamp(raw)

    after = await stage.executor.execute(action.id)

    with stage.store.read() as tx:
        history = audit.history(tx, action.id)
    assert (after.state, stage.provider.sends) == (State.REVOKED, 0)
    assert history[-1]["kind"] == "alarm"
