"""Rows of actions: how they are named, changed and written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import Stage
from seikyu.errors import NotFound, Text
from seikyu.gate import audit
from seikyu.gate.actions import (
    Action,
    State,
    find,
    first_id,
    move,
    new_action_id,
    notes_json,
    tell,
    text_json,
    verdict_json,
)
from seikyu.models import moment, timestamp
from seikyu.spec import RuleTrace, Seat, Verdict

NOON = datetime(2026, 11, 21, 3, 0, 0, 999, tzinfo=UTC)
LETTERS = set("0123456789abcdefghjkmnpqrstvwxyz")


def moved(stage: Stage, action: Action, to: State, event: str = "event", **changes: Any) -> Action:
    with stage.store.write() as tx:
        return move(tx, stage.clock.now(), action, to, event, **changes)


def history(stage: Stage, action: Action) -> list[dict[str, Any]]:
    with stage.store.read() as tx:
        return audit.history(tx, action.id)


def columns(action: Action) -> dict[str, Any]:
    return action.model_dump()


def test_an_id_tells_its_millisecond_sorts_by_it_and_leaves_the_rest_to_chance() -> None:
    ids = [new_action_id(NOON) for _ in range(2000)]

    assert first_id(NOON) == "act-1m7y0qrw0"
    assert first_id(NOON + timedelta(milliseconds=31)) == "act-1m7y0qrwz"
    assert {one[:13] for one in ids} == {"act-1m7y0qrw0"}
    assert {len(one) for one in ids} == {24}
    assert [{one[place] for one in ids} for place in range(13, 24)] == [LETTERS] * 11
    assert new_action_id(NOON + timedelta(milliseconds=1)) > max(ids)


def test_a_change_writes_what_it_names_and_nothing_else_and_its_record_tells_it(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    stage.clock.advance(seconds=5)

    after = moved(stage, action, State.EXECUTING, "taken", epoch=7, lease_owner="host", reference=None)

    now = timestamp(stage.clock.now())
    changed = {"state": State.EXECUTING, "epoch": 7, "lease_owner": "host", "updated_at": now}
    assert columns(after) == columns(action) | changed
    assert after == stage.find(action.id)
    [_, row] = history(stage, action)
    assert {name: value for name, value in row.items() if name not in {"seq", "row"}} == {
        "at": now,
        "kind": "taken",
        "state": "executing",
        "digest": action.digest,
        "epoch": 7,
        "lease_owner": "host",
    }
    assert audit.verify(stage.store).faults == ()


@pytest.mark.parametrize(
    "change", ["UPDATE action SET state = 'expired'", "UPDATE action SET revision = 2", "UPDATE action SET epoch = 1"]
)
def test_a_row_that_is_not_as_it_was_read_is_not_changed(stage: Stage, change: str) -> None:
    action = stage.propose("A-1", 50_000)
    forge(stage, change)
    before = columns(stage.find(action.id))

    with pytest.raises(RuntimeError, match=f"{action.id} is not as it was read"):
        moved(stage, action, State.EXECUTING)

    assert columns(stage.find(action.id)) == before
    assert len(history(stage, action)) == 1


@pytest.mark.parametrize("state,to", [("succeeded", State.FAILED), ("awaiting_approval", State.EXECUTING)])
def test_a_change_the_life_of_an_action_does_not_have_is_refused(stage: Stage, state: str, to: State) -> None:
    forge_to = stage.propose("A-1", 50_000)
    forge(stage, "UPDATE action SET state = ?", state)

    with pytest.raises(RuntimeError, match=f"no way from {state} to {to}"):
        moved(stage, stage.find(forge_to.id), to)

    assert stage.find(forge_to.id).state == state


@pytest.mark.parametrize("state", [State.AWAITING, State.UNKNOWN])
@pytest.mark.parametrize("has_left", [False, True])
@pytest.mark.parametrize("to", [State.EXPIRED, State.FAILED, State.MANUAL_REVIEW, State.APPROVED])
def test_not_written_is_never_said_of_what_may_have_left(
    stage: Stage, state: State, to: State, *, has_left: bool
) -> None:
    action = stage.propose("A-1", 50_000)
    forge(stage, "UPDATE action SET state = ?, may_have_left = ?", state.value, int(has_left))
    if to is (State.FAILED if state is State.AWAITING else State.EXPIRED):
        return  # no such way

    after = moved(stage, stage.find(action.id), to)

    is_doubtful = has_left and to in {State.EXPIRED, State.FAILED}
    possible = Text(
        "以前の送信が後から登録される可能性が残っています。", "An earlier attempt may still turn up at the provider."
    )
    assert (after.state, after.outcome_text) == ((State.MANUAL_REVIEW, possible) if is_doubtful else (to, None))


def test_a_person_may_say_that_nothing_was_written_of_what_may_have_left(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    forge(stage, "UPDATE action SET state = 'manual_review', may_have_left = 1")

    assert moved(stage, stage.find(action.id), State.FAILED).state is State.FAILED


def test_what_is_told_without_a_change_bears_the_row_as_it_was_read(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    with stage.store.write() as tx:
        tell(tx, stage.clock.now(), "seen", action.row, by="tanaka", note=None)

    [proposed, row] = history(stage, action)
    assert row == {
        "seq": 2,
        "at": timestamp(stage.clock.now()),
        "kind": "seen",
        "state": "approved",
        "digest": action.digest,
        "row": proposed["row"],
        "by": "tanaka",
        "note": None,
    }


def test_an_id_nobody_has_is_not_found(stage: Stage) -> None:
    stage.propose("A-1", 50_000)

    with stage.store.read() as tx, pytest.raises(NotFound, match="no action of that id"):
        find(tx, "act-x")


def test_notes_are_each_kept_once_and_a_last_one_names_the_actions_that_look_alike() -> None:
    one, other = Text("一", "one"), Text("二", "two")
    twins = {"ja": "似た申請があります: act-1, act-2", "en": "Looks like the same business as act-1, act-2."}

    assert notes_json([], []) == "[]"
    assert notes_json([one], []) == '[{"ja": "一", "en": "one"}]'
    assert json.loads(notes_json([one, other, one], ["act-1", "act-2"])) == [
        {"ja": "一", "en": "one"},
        {"ja": "二", "en": "two"},
        twins,
    ]


def test_a_verdict_is_stored_whole(stage: Stage) -> None:
    trace = (RuleTrace("large", "ask", is_hit=True, why="大きい"), RuleTrace("no", "deny", is_hit=False, why="no"))
    verdict = Verdict("ask", 3, trace, "f" * 64, seats=(Seat("books", 2), Seat("head", 1)), is_distinct=True)
    action = stage.propose("A-1", 50_000)

    stored = action.model_copy(update={"verdict": verdict_json(verdict)})

    assert stored.decision == verdict
    assert "大きい" in stored.verdict


def test_a_verdict_of_a_version_without_seats_has_none(stage: Stage) -> None:
    trace = (RuleTrace("large", "ask", is_hit=True, why="large"),)
    stored = json.loads(verdict_json(Verdict("ask", 2, trace, "f" * 64)))
    del stored["seats"], stored["is_distinct"]

    action = stage.propose("A-1", 50_000).model_copy(update={"verdict": json.dumps(stored)})

    assert action.decision == Verdict("ask", 2, trace, "f" * 64, seats=(), is_distinct=False)


def test_what_may_have_left_is_not_called_unwritten_while_it_is_open(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)

    def said(*, has_left: bool) -> dict[State, str]:
        of = {state: action.model_copy(update={"state": state, "may_have_left": has_left}) for state in State}
        return {state: one.written for state, one in of.items()}

    unknown = {State.EXECUTING: "unknown", State.UNKNOWN: "unknown", State.MANUAL_REVIEW: "unknown"}
    plain = dict.fromkeys(State, "no") | unknown | {State.SUCCEEDED: "yes"}
    assert said(has_left=False) == plain
    assert said(has_left=True) == plain | {State.AWAITING: "unknown", State.APPROVED: "unknown"}


def test_a_text_is_stored_in_both_languages_as_it_is_read() -> None:
    assert text_json(Text("切断", "cut")) == '{"ja": "切断", "en": "cut"}'


def test_a_new_revision_takes_the_place_of_the_one_that_was_read(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)

    assert moved(stage, action, State.AWAITING, revision=2).revision == 2


@pytest.mark.parametrize("state,is_open", [(state, state in {State.AWAITING, State.APPROVED}) for state in State])
def test_time_runs_out_at_its_last_moment_for_what_is_open_and_for_nothing_else(
    stage: Stage, state: State, *, is_open: bool
) -> None:
    action = stage.propose("A-1", 50_000).model_copy(update={"state": state})
    end = moment(action.expires_at)

    assert (action.is_over(end - timedelta(microseconds=1)), action.is_over(end)) == (False, is_open)
