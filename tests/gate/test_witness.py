"""Rows that were changed behind the log's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from gate.stage import Stage
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.votes import Ballot
from seikyu.gate.witness import ACTION_COLUMNS, REVISION_COLUMNS, TIMING_COLUMNS, VOTE_COLUMNS


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
