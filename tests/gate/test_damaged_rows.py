"""One damaged row of an action is named and waits for a person; all the others go on."""

from __future__ import annotations

import json
import logging

import pytest

from gate.forgery import forge
from gate.stage import Stage
from seikyu.errors import StoreDamaged, Text
from seikyu.gate import audit
from seikyu.gate.actions import Action, State, row_of
from seikyu.gate.search import Wanted, search
from seikyu.models import jst_date
from seikyu.spec import Lost

pytestmark = pytest.mark.both_stores

COLUMNS = ("expires_at", "not_before", "lease_until", "approvers", "epoch", "may_have_left", "digest", "notes")
UNREADABLE = ("canonical", "verdict", "notes", "outcome")


async def one_in(stage: Stage, state: State, number: str) -> Action:
    """An action that a sweep has something to do with, each number another amount."""
    amount = 20_000 + int(number.removeprefix("A-"))
    if state is State.AWAITING:
        return stage.propose(number, 100_000 + amount)
    action = stage.propose(number, amount)
    if state is State.EXECUTING:
        assert stage.claims.take(action.id) is not None
    if state is State.UNKNOWN:
        stage.provider.answers.append(lambda _request: Lost(Text("切断", "cut")))
        await stage.executor.execute(action.id)
    return stage.find(action.id)


def damage(stage: Stage, action: Action, column: str, value: object) -> None:
    assert forge(stage, f"UPDATE action SET {column} = ? WHERE id = ?", value, action.id) == 1  # noqa: S608 - our names


def faults(stage: Stage) -> list[str]:
    return [fault.en for fault in audit.verify(stage.store).faults]


AFTER = {
    State.AWAITING: State.EXPIRED,
    State.APPROVED: State.SUCCEEDED,
    State.EXECUTING: State.UNKNOWN,
    State.UNKNOWN: State.SUCCEEDED,
}
"""What becomes of the sound one in one sweep, or what it is begun with."""


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "column,value", [*((name, "x") for name in COLUMNS), ("revision", b"\x00"), ("canonical", b"\x00")]
)
@pytest.mark.parametrize("state", list(AFTER))
async def test_a_value_of_a_wrong_kind_stops_nothing_but_its_own_action(
    stage: Stage, state: State, column: str, value: object
) -> None:
    damaged, other = await one_in(stage, state, "A-1"), await one_in(stage, state, "A-2")
    damage(stage, damaged, column, value)
    stage.clock.advance(hours=73 if state is State.AWAITING else 1)

    await stage.executor.sweep()
    page = stage.desk.page(requester=None, state=None, limit=10, cursor=None)

    assert stage.find(other.id).state is not state
    assert f"action {damaged.id} is not what the log says it is" in faults(stage)
    assert {*page.damaged, *(action.id for action in page.actions)} == {damaged.id, other.id}
    assert "A-1" not in stage.provider.booked


@pytest.mark.sqlite_only
async def test_a_row_that_cannot_be_read_waits_for_a_person_in_its_column_and_in_the_log(stage: Stage) -> None:
    action = await one_in(stage, State.APPROVED, "A-1")
    damage(stage, action, "approvers", "x")

    await stage.executor.sweep()

    with stage.store.read() as tx:
        last, there = audit.history(tx, action.id)[-1], row_of(tx, action.id)
    assert (last["kind"], last["state"], there["state"]) == ("alarm", "manual_review", "manual_review")


@pytest.mark.parametrize("state", list(AFTER))
async def test_a_row_that_cannot_be_read_waits_for_a_person_with_an_alarm_and_the_next_one_goes_on(
    stage: Stage, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, other = await one_in(stage, state, "A-1"), await one_in(stage, state, "A-2")
    column = "not_before" if state in {State.APPROVED, State.UNKNOWN} else "expires_at"
    damage(stage, damaged, column, "x")
    stage.clock.advance(hours=73 if state is State.AWAITING else 1)

    await stage.executor.sweep()
    await stage.executor.sweep()

    with stage.store.read() as tx:
        row = tx.one("action", id=damaged.id)
        history = audit.history(tx, damaged.id)
    assert row is not None
    assert (row["state"], row[column]) == ("manual_review", "x")
    [alarm] = [said for said in history if said["kind"] == "alarm"]
    assert alarm["row"] in [said["row"] for said in history[: history.index(alarm)]], "as the log last knew it"
    assert stage.find(other.id).state is not state
    assert faults(stage) == [f"action {damaged.id} is not what the log says it is"]
    alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(alarms) == 1
    assert damaged.id in alarms[0].message
    with pytest.raises(StoreDamaged, match=f"The row of action {damaged.id} is damaged"):
        stage.find(damaged.id)


@pytest.mark.parametrize("column", UNREADABLE)
async def test_a_list_goes_on_past_what_cannot_be_shown_and_names_it(stage: Stage, column: str) -> None:
    made = [stage.propose(f"A-{number}", 100_000 + number) for number in range(1, 6)]
    damage(stage, made[2], column, "{")

    pages, cursor = [stage.desk.page(requester="suzuki", state=None, limit=2, cursor=None)], None
    while (cursor := pages[-1].older) is not None:
        pages.append(stage.desk.page(requester="suzuki", state=None, limit=2, cursor=cursor))

    listed = [action.id for page in pages for action in page.actions]
    assert listed == sorted((action.id for action in made if action is not made[2]), reverse=True)
    assert [name for page in pages for name in page.damaged] == [made[2].id]
    assert {page.total for page in pages} == {5}


@pytest.mark.parametrize("missing", ["company", "environment", "request", "particulars"])
def test_a_list_names_an_action_whose_content_lacks_what_every_action_says(stage: Stage, missing: str) -> None:
    action = stage.propose("A-1", 100_000)
    content = json.loads(action.canonical)
    del content[missing]
    damage(stage, action, "canonical", json.dumps(content))

    page = stage.desk.page(requester=None, state=None, limit=10, cursor=None)

    assert ([one.id for one in page.actions], list(page.damaged)) == ([], [action.id])


def test_a_search_goes_on_past_a_damaged_row(stage: Stage) -> None:
    made = [stage.propose(f"A-{number}", 100_000 + number) for number in range(1, 4)]
    damage(stage, made[1], "verdict", json.dumps({"kind": "ask"}))

    today = jst_date(stage.clock.now())
    hits = search(stage.store, Wanted(day_to=today), limit=10)

    assert {action.id for action in hits.actions} == {made[2].id, made[0].id}
    assert hits.total == 3
